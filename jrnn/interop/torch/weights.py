"""Weights and states of PyTorch's `RNN`, `LSTM` and `GRU`, and of their cells.

All functions here work on arrays. PyTorch does not need to be installed.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jrnn import checks
from jrnn.cells import (
    GRU,
    LSTM,
    Elman,
    ElmanParams,
    GRUParams,
    LSTMParams,
    LSTMState,
    ProjectedLSTM,
    ProjectedLSTMParams,
)
from jrnn.interop.common import stacks
from jrnn.interop.common.build import bias_options, both_biases
from jrnn.interop.common.foreign_arrays import (
    Reader,
    check_shape,
    count_gates,
    to_array,
)
from jrnn.interop.common.states import cell_state, has_memory
from jrnn.interop.torch.state_dicts import recurrent_weights
from jrnn.interop.torch.supported import NONLINEARITIES, module_layers
from jrnn.layers import BidirectionalParams, Recurrent
from jrnn.types import Array, Layer, Params, State

_LAYERED = re.compile(r"(?P<part>\w+?)_l(?P<layer>\d+)(?P<side>_reverse)?")
KINDS = {1: "elman", 3: "gru", 4: "lstm"}  # by the number of gates


def from_state_dict(
    state_dict: Mapping[str, Any], nonlinearity: str = "tanh", *, prefix: str = ""
) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from the weights of a PyTorch module.

    Names and shapes determine the kind of cell, the number of layers and directions,
    the biases and the projection. Both biases remain separate parameters.

    Args:
      state_dict: The `state_dict()` of a `torch.nn.RNN`, `LSTM` or `GRU`, of one of
        their cells, or of a model that contains one of these; tensors or arrays. Both
        forms of weight normalization are applied.
      nonlinearity: "tanh" or "relu", for an RNN. Its weights do not determine it.
      prefix: The path of the module in a model that contains several. With
        "encoder.rnn." only names with this prefix are read, also if they follow the
        "module." of `DataParallel`.

    Returns:
      A `Recurrent` or `Bidirectional`, or a `Sequential` of several; and its
      parameters. The weights do not contain the dropout between layers, so the result
      has none.

    Raises:
      ValueError: if weights are missing, unknown, or do not fit each other; if a prefix
        is wrong or needed.
      TypeError: if they are not floating point or not in a dictionary.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop import torch
      >>> layer, params = torch.from_state_dict({
      ...     "weight_ih_l0": np.ones((16, 3), "float32"),
      ...     "weight_hh_l0": np.ones((16, 4), "float32"),
      ... })
      >>> layer
      Recurrent(cell=LSTM(hidden_size=4, bias=False))
    """
    checks.one_of("nonlinearity", nonlinearity, NONLINEARITIES)
    weights = Reader(recurrent_weights(state_dict, prefix))
    if "weight_ih" in weights.arrays:  # one of the cells
        cell, params = _read(weights, "", nonlinearity)
        weights.done()
        return Recurrent(cell), params
    layers: list[Any] = []
    parameters: list[Params] = []
    _check_equal_layers(weights.names)
    while not layers or f"weight_ih_l{len(layers)}" in weights.arrays:
        suffix = f"_l{len(layers)}"
        cell, params = _read(weights, suffix, nonlinearity)
        if f"weight_ih{suffix}_reverse" not in weights.arrays:
            layers.append(Recurrent(cell))
            parameters.append(params)
            continue
        back, back_params = _read(weights, f"{suffix}_reverse", nonlinearity)
        layers.append(stacks.bidirectional(cell, back))
        parameters.append(BidirectionalParams(params, back_params))
    weights.done()
    stacks.check_sizes(layers, parameters)
    return stacks.stacked(layers, parameters)


def to_state_dict(layer: Layer, params: Params) -> dict[str, np.ndarray]:
    """Returns the parameters of a layer with the names and the layout of PyTorch.

    Args:
      layer: A `Recurrent` or `Bidirectional` of an `Elman`, `LSTM`, `ProjectedLSTM` or
        `GRU`, or a `Sequential` of several, all of one kind and size. `Dropout` between
        them is ignored.
      params: Its parameters.

    Returns:
      numpy arrays. PyTorch has two biases; if the cell has one, the other is zero.
      A module loads them with
      `module.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})`. Cast
      bfloat16 to float32 first, because PyTorch does not read it from numpy.

    Raises:
      ValueError: if PyTorch has no module that computes the same.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import torch
      >>> layer = jrnn.Recurrent(jrnn.GRU(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> {k: v.shape for k, v in torch.to_state_dict(layer, params).items()}
      {'weight_ih_l0': (12, 3), 'weight_hh_l0': (12, 4),
       'bias_ih_l0': (12,), 'bias_hh_l0': (12,)}
    """
    weights: dict[str, np.ndarray] = {}
    pairs = zip(module_layers(layer), stacks.entries(layer, params), strict=True)
    for index, (each, own) in enumerate(pairs):
        for side, (cell, arrays) in enumerate(stacks.directions(each, own)):
            weights |= _write(cell, arrays, f"_l{index}" + "_reverse" * side)
    return weights


def state_from_torch(layer: Layer, h0: Any, c0: Any = None) -> State:
    """Returns the state of a layer for PyTorch's `h_0` and `c_0`.

    Args:
      layer: From `from_state_dict`, or one that `to_state_dict` takes.
      h0: [layers * directions, *batch, H]. For a cell, [*batch, H] with a leading axis
        of size 1.
      c0: The same for the memory of LSTMs. With a projection the sizes differ.

    Raises:
      ValueError: if the number of states is wrong, or if `c0` is missing or not needed.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import torch
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4))
      >>> state = torch.state_from_torch(layer, jnp.ones((2, 5, 4)))
      >>> state.backward.h.shape
      (5, 4)
    """
    layers = module_layers(layer)
    cells = stacks.cells_of(layers)
    memory = has_memory(cells[0])
    if memory != (c0 is not None):
        needs = "needs c0, the memory" if memory else "has no memory; leave out c0"
        raise ValueError(f"The state of {cells[0]!r} {needs}.")
    hs = to_array("h0", h0)
    cs = to_array("c0", c0) if memory else hs
    for name, value in (("h0", hs), ("c0", cs)):
        if value.shape[0] != len(cells):
            raise ValueError(
                f"{name} must be [layers * directions = {len(cells)}, *batch, size], "
                f"got {list(value.shape)}. The state of a PyTorch cell has no leading "
                f"axis: pass {name}[None]."
            )
    states = [cell_state(*each) for each in zip(cells, hs, cs, strict=True)]
    return stacks.assemble(layer, stacks.pair_up(layers, states))


def state_to_torch(layer: Layer, state: State) -> tuple[Array, Array | None]:
    """Returns PyTorch's `h` and `c` for the state of a layer; c is None without memory.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import torch
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> h, c = torch.state_to_torch(layer, layer.initial_state(params, (5,)))
      >>> h.shape, c.shape
      ((1, 5, 4), (1, 5, 4))
    """
    pairs = zip(module_layers(layer), stacks.entries(layer, state), strict=True)
    states = [each for pair in pairs for _, each in stacks.directions(*pair)]
    h = jnp.stack([each.h for each in states])
    if not isinstance(states[0], LSTMState):
        return h, None
    return h, jnp.stack([each.c for each in states])


def _check_equal_layers(names: list[str]) -> None:
    """Raises if a layer lacks a direction or the biases that another one has."""
    found = [match for name in names if (match := _LAYERED.fullmatch(name))]
    layers = sorted({int(match["layer"]) for match in found})
    parts = {(match["part"], match["side"] or "") for match in found}
    for layer in layers:
        for part, side in sorted(parts):
            name = f"{part}_l{layer}{side}"
            if name not in names:
                raise ValueError(
                    f"The weight {name!r} is missing, but other layers have it. "
                    "All layers of a PyTorch module have the same directions and "
                    "biases. Pass all weights of the module."
                )


def _read(weights: Reader, suffix: str, nonlinearity: str) -> tuple[Any, Params]:
    """Reads the cell of one layer and direction."""
    w_x, w_h = (weights.take(f"weight_{side}{suffix}") for side in ("ih", "hh"))
    w_p = weights.maybe(f"weight_hr{suffix}")
    read = w_h.shape[-1] if w_h.ndim else 0
    size = read if w_p is None else w_p.shape[-1]
    gates = count_gates(f"weight_hh{suffix}", w_h, size, axis=0)
    if gates not in KINDS or (w_p is not None and gates != 4):
        raise ValueError(
            f"weight_hh{suffix} must have 1, 3 or 4 rows for each of the {size} units, "
            f"as in an RNN, a GRU or an LSTM, got shape {list(w_h.shape)}. Pass the "
            "weights of one of these modules."
        )
    rows = gates * size
    count_gates(f"weight_ih{suffix}", w_x, size, axis=0)
    check_shape(f"weight_ih{suffix}", w_x, (rows, w_x.shape[1]))
    b_x, b_h = (weights.maybe(f"bias_{side}{suffix}") for side in ("ih", "hh"))
    if (b_x is None) != (b_h is None):
        raise ValueError(
            f"One of bias_ih{suffix} and bias_hh{suffix} is missing. Pass both biases "
            "of the module, or neither."
        )
    for name, value in (("bias_ih", b_x), ("bias_hh", b_h)):
        if value is not None:
            check_shape(name + suffix, value, (rows,))
    options = bias_options(biased=b_x is not None, separate=True)
    arrays = (w_x.T, w_h.T, b_x, b_h)
    if w_p is not None:
        check_shape(f"weight_hr{suffix}", w_p, (read, size))
        projected = ProjectedLSTMParams(w_x.T, w_h.T, w_p.T, b_x, b_h)
        return ProjectedLSTM(size, read, **options), projected
    if KINDS[gates] == "lstm":
        return LSTM(size, **options), LSTMParams(*arrays)
    if KINDS[gates] == "gru":
        return GRU(size, **options), GRUParams(*arrays)
    activation = NONLINEARITIES[nonlinearity]
    return Elman(size, activation=activation, **options), ElmanParams(*arrays)


def _write(cell: Any, params: Any, suffix: str) -> dict[str, np.ndarray]:
    """Names the arrays of the cell of one layer and direction."""
    arrays = {f"weight_ih{suffix}": params.w_x.T, f"weight_hh{suffix}": params.w_h.T}
    if params.b_x is not None:
        names = (f"bias_ih{suffix}", f"bias_hh{suffix}")
        arrays |= zip(names, both_biases(params), strict=True)
    if isinstance(cell, ProjectedLSTM):
        arrays[f"weight_hr{suffix}"] = params.w_p.T
    return {name: np.array(value) for name, value in arrays.items()}
