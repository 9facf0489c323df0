"""What the importer of PyTorch's weights refuses, and says."""

import jax
import numpy as np
import pytest

import jrnn
from jrnn.interop import torch

H = 4


def weights(**changes):
    """An LSTM's state_dict with some entries changed, or taken out by None."""
    ones = lambda *shape: np.ones(shape, "float32")
    entries = {
        "weight_ih_l0": ones(16, 3),
        "weight_hh_l0": ones(16, 4),
        "bias_ih_l0": ones(16),
        "bias_hh_l0": ones(16),
    } | changes
    return {name: value for name, value in entries.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_hh_l0": None}, "'weight_hh_l0' is missing"),
        ({"bias_hh_l0": None}, "One of bias_ih_l0 and bias_hh_l0"),
        ({"bias_hh_l0": np.ones(12, "float32")}, r"bias_hh_l0 must have shape \[16\]"),
        ({"weight_hh_l0": np.ones((8, 4), "float32")}, "1, 3 or 4 rows for each"),
        ({"weight_hh_l0": np.ones(16, "float32")}, "weight_hh_l0 must be a matrix"),
        ({"weight_hh_l0": np.ones((0, 0), "float32")}, "weight_hh_l0 must be a matrix"),
        ({"weight_ih_l0": np.ones(16, "float32")}, "weight_ih_l0 must be a matrix"),
        ({"weight_ih_l0": np.ones((12, 3), "float32")}, r"weight_ih_l0 must have sh"),
        (
            {"weight_ih_l2": np.ones((16, 4), "float32")},
            r"\['weight_ih_l2'\] belong to no",
        ),
        ({"head.bias": np.ones(4, "float32")}, r"\['head.bias'\] belong to no"),
        ({"bias_ih_l0": np.ones(16)}, "bias_ih_l0 is float64"),
    ],
    ids=str,
)
def test_weights_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        torch.from_state_dict(weights(**changes))


def test_integers_are_refused():
    with pytest.raises(TypeError, match="must be floating point, got int64"):
        torch.from_state_dict(weights(bias_ih_l0=np.ones(16, "int64")))


def test_a_prefix_selects_a_module_of_a_model():
    model = {f"rnn.{k}": v for k, v in weights().items()} | {"head": np.ones(2)}
    layer, params = torch.from_state_dict(model, prefix="rnn.")
    assert layer == jrnn.Recurrent(jrnn.LSTM(H, separate_biases=True))
    assert params.w_x.shape == (3, 16)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (jrnn.Recurrent(jrnn.ResetBeforeGRU(H)), "reset gate after"),
        (jrnn.Recurrent(jrnn.GRU(H), reverse=True), "only in reverse"),
        (jrnn.Bidirectional(jrnn.GRU(H), merge="sum"), "concatenates both"),
        (jrnn.Bidirectional(jrnn.GRU(H), jrnn.GRU(5)), "these cells differ"),
        (jrnn.Recurrent(jrnn.LSTM(H, gate=jrnn.activations.tanh)), "another gate"),
        (jrnn.Recurrent(jrnn.Elman(H, jrnn.activations.sigmoid)), "activation of an"),
        (jrnn.Recurrent(jrnn.ProjectedLSTM(H, 5)), "fewer units"),
        (jrnn.Dense(3), "no recurrent layer"),
        (
            jrnn.Sequential(*(jrnn.Recurrent(jrnn.GRU(n)) for n in (4, 5))),
            "these cells differ",
        ),
        (
            jrnn.Sequential(
                jrnn.Bidirectional(jrnn.GRU(H)), jrnn.Recurrent(jrnn.GRU(H))
            ),
            "one-directional on bidirectional",
        ),
    ],
    ids=str,
)
def test_what_pytorch_cannot_compute_is_refused(layer, message):
    params = jax.eval_shape(lambda key: layer.init(key, 3), jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        torch.to_state_dict(layer, params)


def test_a_memory_must_be_given_and_must_fit():
    layer = jrnn.Recurrent(jrnn.LSTM(H))
    h = np.ones((1, 2, H), "float32")
    with pytest.raises(ValueError, match="needs c0"):
        torch.state_from_torch(layer, h)
    with pytest.raises(ValueError, match=r"pass h0\[None\]"):
        torch.state_from_torch(layer, h[0], h[0])
    with pytest.raises(ValueError, match="leave out c0"):
        torch.state_from_torch(jrnn.Recurrent(jrnn.GRU(H)), h, h)
