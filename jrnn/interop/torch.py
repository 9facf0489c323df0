"""Weights and states of PyTorch's `RNN`, `LSTM` and `GRU`, and of their cells.

Everything here works on the arrays alone: PyTorch need not be installed.
"""

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
    activations,
)
from jrnn.interop import cells, layouts, stacks
from jrnn.layers import (
    Bidirectional,
    BidirectionalParams,
    Recurrent,
)
from jrnn.types import Array, Layer, Params, State

NONLINEARITIES = {"tanh": activations.tanh, "relu": activations.relu}
KINDS = {1: "elman", 3: "gru", 4: "lstm"}  # by the number of blocks of rows


def from_state_dict(
    state_dict: Mapping[str, Any], nonlinearity: str = "tanh", *, prefix: str = ""
) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from the weights of a PyTorch module.

    Kind, layers, directions, biases and projection are read from names and shapes. Both
    biases are kept, each as a parameter: `bias="double"`.

    Args:
      state_dict: What `state_dict()` of a `torch.nn.RNN`, `LSTM`, `GRU` or of one of
        their cells returns; tensors or arrays.
      nonlinearity: Of an RNN, "tanh" or "relu": weights do not tell.
      prefix: Where the module is within a larger one: "encoder.rnn." reads the names
        that begin so, and leaves the others alone.

    Returns:
      A `Recurrent` or `Bidirectional`, or a `Sequential` of several; and its
      parameters. Dropout between layers is not in the weights, and not in the layer.

    Raises:
      ValueError: if weights are missing, left over, or do not fit each other.
      TypeError: if they are not floating point.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop import torch
      >>> layer, params = torch.from_state_dict({
      ...     "weight_ih_l0": np.ones((16, 3), "float32"),
      ...     "weight_hh_l0": np.ones((16, 4), "float32"),
      ... })
      >>> layer
      Recurrent(cell=LSTM(hidden_size=4, bias=None))
    """
    checks.one_of("nonlinearity", nonlinearity, NONLINEARITIES)
    weights = layouts.Reader(
        {
            name.removeprefix(prefix): value
            for name, value in state_dict.items()
            if name.startswith(prefix)
        }
    )
    if "weight_ih" in weights.arrays:  # one of the cells
        cell, params = _read(weights, "", nonlinearity)
        weights.done()
        return Recurrent(cell), params
    layers: list[Any] = []
    parameters: list[Params] = []
    while not layers or f"weight_ih_l{len(layers)}" in weights.arrays:
        suffix = f"_l{len(layers)}"
        cell, params = _read(weights, suffix, nonlinearity)
        if f"weight_ih{suffix}_reverse" not in weights.arrays:
            layers.append(Recurrent(cell))
            parameters.append(params)
            continue
        back, back_params = _read(weights, f"{suffix}_reverse", nonlinearity)
        layers.append(Bidirectional(cell, None if back == cell else back))
        parameters.append(BidirectionalParams(params, back_params))
    weights.done()
    stacks.check_sizes(layers, parameters)
    return stacks.stacked(layers, parameters)


def to_state_dict(layer: Layer, params: Params) -> dict[str, np.ndarray]:
    """Returns the parameters of a layer under the names and in the layout of PyTorch.

    Args:
      layer: A `Recurrent` or `Bidirectional` of an `Elman`, `LSTM`, `ProjectedLSTM` or
        `GRU`, or a `Sequential` of several, all of one kind and size. `Dropout` between
        them is passed over.
      params: Its parameters.

    Returns:
      numpy arrays; PyTorch has two biases, and a single one gets zeros for the other.
      A module loads them with
      `module.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})`;
      bfloat16, which PyTorch does not read from numpy, cast to float32 before.

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
    parts = list(zip(_recurrent(layer), stacks.entries(layer, params), strict=True))
    for index, (part, part_params) in enumerate(parts):
        for side, (cell, cell_params) in enumerate(stacks.sides(part, part_params)):
            suffix = f"_l{index}" + "_reverse" * side
            weights |= _write(cell, cell_params, suffix)
    return weights


def state_from_torch(layer: Layer, h0: Any, c0: Any = None) -> State:
    """Returns the state of a layer for PyTorch's `h_0` and `c_0`.

    Args:
      layer: From `from_state_dict`, or one that `to_state_dict` takes.
      h0: [layers * directions, *batch, H]; [*batch, H] of a cell is taken as well.
      c0: The same for the memory of LSTMs; with a projection the sizes differ.

    Raises:
      ValueError: if the number of states is wrong or `c0` is needed and not given.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import torch
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4))
      >>> state = torch.state_from_torch(layer, jnp.ones((2, 5, 4)))
      >>> state.backward.h.shape
      (5, 4)
    """
    parts = _recurrent(layer)
    own = [cell for part in parts for cell, _ in stacks.sides(part, (None, None))]
    memory = stacks.has_memory(own[0])
    if memory != (c0 is not None):
        needs = "needs c0, the memory" if memory else "has no memory; leave out c0"
        raise ValueError(f"The state of {own[0]!r} {needs}.")
    hs = layouts.array("h0", h0)
    cs = layouts.array("c0", c0) if memory else hs
    for name, value in (("h0", hs), ("c0", cs)):
        if value.shape[0] != len(own):
            raise ValueError(
                f"{name} must be [layers * directions = {len(own)}, *batch, size], "
                f"got {list(value.shape)}. The states of a cell have one axis less: "
                f"pass {name}[None]."
            )
    states = [stacks.cell_state(*each) for each in zip(own, hs, cs, strict=True)]
    return stacks.assemble(layer, stacks.pair_up(parts, states))


def state_to_torch(layer: Layer, state: State) -> tuple[Array, Array | None]:
    """Returns the state of a layer as PyTorch's `h` and `c`; c is None but for LSTMs.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import torch
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> h, c = torch.state_to_torch(layer, layer.initial_state(params, (5,)))
      >>> h.shape, c.shape
      ((1, 5, 4), (1, 5, 4))
    """
    parts = zip(_recurrent(layer), stacks.entries(layer, state), strict=True)
    states = [each for part in parts for _, each in stacks.sides(*part)]
    h = jnp.stack([each.h for each in states])
    if not isinstance(states[0], LSTMState):
        return h, None
    return h, jnp.stack([each.c for each in states])


def _read(
    weights: layouts.Reader, suffix: str, nonlinearity: str
) -> tuple[Any, Params]:
    """Reads the cell of one layer and direction."""
    w_x, w_h = (weights.take(f"weight_{part}{suffix}") for part in ("ih", "hh"))
    w_p = weights.maybe(f"weight_hr{suffix}")
    read = w_h.shape[-1] if w_h.ndim else 0
    size = read if w_p is None else w_p.shape[-1]
    blocks = layouts.blocks(f"weight_hh{suffix}", w_h, size, axis=0)
    if blocks not in KINDS or (w_p is not None and blocks != 4):
        raise ValueError(
            f"weight_hh{suffix} is {list(w_h.shape)}, but its rows must be 1, 3 or 4 "
            f"times the {size} units, as in an RNN, a GRU or an LSTM."
        )
    rows = blocks * size
    layouts.blocks(f"weight_ih{suffix}", w_x, size, axis=0)
    layouts.shape(f"weight_ih{suffix}", w_x, (rows, w_x.shape[1]))
    b_x, b_h = (weights.maybe(f"bias_{part}{suffix}") for part in ("ih", "hh"))
    if (b_x is None) != (b_h is None):
        raise ValueError(f"One of bias_ih{suffix} and bias_hh{suffix} is missing.")
    for name, value in (("bias_ih", b_x), ("bias_hh", b_h)):
        if value is not None:
            layouts.shape(name + suffix, value, (rows,))
    bias = None if b_x is None else "double"
    arrays = (w_x.T, w_h.T, b_x, b_h)
    if w_p is not None:
        layouts.shape(f"weight_hr{suffix}", w_p, (read, size))
        params = ProjectedLSTMParams(w_x.T, w_h.T, w_p.T, b_x, b_h)
        return ProjectedLSTM(size, read, bias=bias), params
    if KINDS[blocks] == "lstm":
        return LSTM(size, bias=bias), LSTMParams(*arrays)
    if KINDS[blocks] == "gru":
        return GRU(size, bias=bias), GRUParams(*arrays)
    activation = NONLINEARITIES[nonlinearity]
    return Elman(size, activation=activation, bias=bias), ElmanParams(*arrays)


def _write(cell: Any, params: Any, suffix: str) -> dict[str, np.ndarray]:
    """Names the arrays of the cell of one layer and direction."""
    arrays = {f"weight_ih{suffix}": params.w_x.T, f"weight_hh{suffix}": params.w_h.T}
    if params.b_x is not None:
        names = (f"bias_ih{suffix}", f"bias_hh{suffix}")
        arrays |= zip(names, cells.filled(params), strict=True)
    if isinstance(cell, ProjectedLSTM):
        arrays[f"weight_hr{suffix}"] = params.w_p.T
    return {name: np.array(value) for name, value in arrays.items()}


def _recurrent(layer: Layer) -> list[Any]:
    """Returns the layers that one PyTorch module would hold."""
    parts = stacks.recurrent(layer, "PyTorch")
    own: list[Any] = []
    for part in parts:
        if isinstance(part, Bidirectional) and part.merge != "concat":
            raise ValueError(
                f"PyTorch concatenates both directions; merge={part.merge!r} is not "
                "possible there."
            )
        if isinstance(part, Recurrent) and part.reverse:
            raise ValueError(
                "PyTorch has no layer that runs only in reverse; flip the sequence and "
                "export `Recurrent(cell)`."
            )
        own += [cell for cell, _ in stacks.sides(part, (None, None))]
    _check_cells(own)
    if len({type(part) for part in parts}) > 1:
        raise ValueError(
            "PyTorch cannot stack one-directional on bidirectional layers; export them "
            "one by one."
        )
    return parts


def _check_cells(own: list[Any]) -> None:
    for cell in own:
        if not isinstance(cell, Elman | LSTM | ProjectedLSTM | GRU):
            raise ValueError(
                f"PyTorch has no module for {cell!r}. Its GRU applies the reset "
                "gate after the state's product, as `GRU` does, not `ResetBeforeGRU`."
            )
        if isinstance(cell, ProjectedLSTM) and not (
            cell.projection_size < cell.hidden_size
        ):
            raise ValueError(
                f"PyTorch projects to fewer units only, not as {cell!r} does."
            )
        _check_activations(cell)
    if len({_common(cell) for cell in own}) > 1:
        raise ValueError(
            "One PyTorch module has layers of one kind, size and bias, but these cells "
            f"differ: {', '.join(sorted(set(map(repr, own))))}. Export them one by "
            "one."
        )


def _check_activations(cell: Any) -> None:
    if not isinstance(cell, Elman):
        layouts.usual(cell, "PyTorch")
        return
    name = layouts.activation_name(cell.activation, "PyTorch")
    checks.one_of("activation of an Elman cell for PyTorch", name, NONLINEARITIES)


def _common(cell: Any) -> tuple[Any, ...]:
    """What all cells of one PyTorch module have in common."""
    name = layouts.activation_name(cell.activation, "PyTorch")
    return type(cell), cell.hidden_size, cell.output_size, cell.bias is None, name
