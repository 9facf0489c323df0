"""PyTorch: weights and states of `torch.nn.RNN`, `LSTM`, `GRU` and their cells."""

from jrnn.interop.torch.weights import (
    from_state_dict as from_state_dict,
    state_from_torch as state_from_torch,
    state_to_torch as state_to_torch,
    to_state_dict as to_state_dict,
)
