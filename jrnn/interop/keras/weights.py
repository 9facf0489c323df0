"""Weights and states of the recurrent layers of Keras 3.

All functions here work on lists of arrays, as `get_weights` returns them, and on
dictionaries of options. Keras does not need to be installed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.interop.common import stacks
from jrnn.interop.common.activation_names import check_one_activation
from jrnn.interop.common.build import (
    CELL_KINDS,
    both_biases,
    build_cell,
    kind_of,
    no_such_cell,
)
from jrnn.interop.common.foreign_arrays import check_shape, to_array
from jrnn.interop.common.gate_orders import reorder
from jrnn.interop.common.states import cell_state, has_memory, state_to
from jrnn.interop.keras import options
from jrnn.layers import BidirectionalParams
from jrnn.types import Array, Layer, Params, State


def from_weights(
    weights: Sequence[Any], config: Mapping[str, Any] | None = None
) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from the weights of a Keras layer.

    Three things differ from Keras at run time. `go_backwards` becomes `reverse`, whose
    outputs keep the order of the inputs, while Keras reverses them. Masked outputs are
    zero here, while Keras repeats the last output unless `zero_output_for_mask`. And
    the result has no dropout.

    Args:
      weights: `layer.get_weights()` of a `SimpleRNN`, `LSTM`, `GRU`, `ConvLSTM1D` to
        `ConvLSTM3D`, of a `CuDNNLSTM` or `CuDNNGRU` of Keras 2, of an `RNN` over one of
        their cells or a list of them, or of a `Bidirectional` around one of these.
      config: `keras.saving.serialize_keras_object(layer)`, or `layer.get_config()`
        if the layer is not convolutional. Without it, options are Keras's defaults, and
        the shapes determine the kinds of cells and their biases.

    Returns:
      A `Recurrent` or `Bidirectional`, or a `Sequential` of several; and its
      parameters.

    Raises:
      ValueError: if there are too few or too many weights, or if their shapes fit no
        layer or several.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop import keras
      >>> ones = lambda *shape: np.ones(shape, "float32")
      >>> layer, params = keras.from_weights([ones(3, 12), ones(4, 12), ones(2, 12)])
      >>> layer
      Recurrent(cell=GRU(hidden_size=4, separate_biases=True))
    """
    arrays = [to_array(f"weights[{i}]", w) for i, w in enumerate(weights)]
    plan = options.from_shapes(arrays) if config is None else options.read(config)
    layers, params = [], []
    rest = iter(arrays)
    for level in plan:
        pairs = [_read(spec, rest) for spec in level.cells]
        layers.append(level.layer(*(cell for cell, _ in pairs)))
        own = [made for _, made in pairs]
        params.append(BidirectionalParams(*own) if len(own) == 2 else own[0])
    unread = len(list(rest))
    if unread:
        raise ValueError(
            f"weights must hold {len(arrays) - unread} arrays for {layers}, got "
            f"{len(arrays)}. Pass the weights and the config of one layer."
        )
    stacks.check_sizes(layers, params)
    return stacks.stacked(layers, params)


def to_weights(layer: Layer, params: Params) -> list[np.ndarray]:
    """Returns the parameters of a layer as `set_weights` of the Keras layer takes them.

    Args:
      layer: A `Recurrent` or `Bidirectional` of an `Elman`, `LSTM`, `GRU`,
        `ResetBeforeGRU` or `ConvLSTM`, or a `Sequential` of several.
      params: Its parameters.

    Returns:
      Input weights, recurrent weights and bias of each cell, forward before backward.
      Two biases are added if Keras has one.

    Raises:
      ValueError: if Keras has no cell that computes the same.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import keras
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> [w.shape for w in keras.to_weights(layer, params)]
      [(3, 16), (4, 16), (16,)]
    """
    written: list[Array] = []
    for each, own in stacks.layers_and_entries(layer, params, "Keras"):
        for cell, arrays in stacks.directions(each, own):
            written += _write(cell, arrays)
    return [np.array(array) for array in written]


def state_from_keras(layer: Layer, states: Sequence[Any]) -> State:
    """Returns the state of a layer for the list of states that Keras has.

    Args:
      layer: As for `to_weights`.
      states: For each cell h, and c if it has one; forward before backward. Lists may
        be nested.

    Raises:
      ValueError: if there are too few or too many states.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import keras
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4))
      >>> state = keras.state_from_keras(layer, [jnp.zeros(4), jnp.ones(4)])
      >>> state.backward.h.tolist()
      [1.0, 1.0, 1.0, 1.0]
    """
    layers = stacks.recurrent_layers(layer, "Keras")
    cells = stacks.cells_of(layers)
    names = [("h", "c") if has_memory(cell) else ("h",) for cell in cells]
    arrays = jax.tree.leaves(list(states))
    needed = sum(map(len, names))
    if len(arrays) != needed:
        raise ValueError(
            f"states must hold {needed} arrays for {layer!r}, one h per cell and one c "
            f"per LSTM, got {len(arrays)}."
        )
    rest = iter(arrays)
    made = [
        cell_state(cell, **{name: to_array(name, next(rest)) for name in own})
        for cell, own in zip(cells, names, strict=True)
    ]
    return stacks.assemble(layer, stacks.pair_up(layers, made))


def state_to_keras(layer: Layer, state: State) -> list[Any]:
    """Returns the state of a layer as Keras's list; for a stack, one entry per layer.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import keras
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> h, c = keras.state_to_keras(layer, layer.initial_state(params))
    """
    made = state_to(layer, state, "Keras", ("h", "c"))
    if isinstance(made, list):  # a stack
        leaves = [jax.tree.leaves(each) for each in made]
        return [each[0] if len(each) == 1 else each for each in leaves]
    return jax.tree.leaves(made)


def _read(spec: options.Spec, rest: Any) -> tuple[Any, Params]:
    """Reads the arrays of one cell from an iterator over all arrays."""
    kind = spec.kind
    order = CELL_KINDS[kind].order
    needed = range(3 if spec.bias else 2)
    arrays = [a for _, a in zip(needed, rest, strict=False)]
    if len(arrays) < len(needed):
        raise ValueError(
            f"weights must hold {len(needed)} arrays for each {kind}, got only "
            f"{len(arrays)} for the last. Pass all weights of the layer."
        )
    if spec.bias and kind in ("gru", "lstm") and arrays[2].ndim == 1:
        arrays = _from_cudnn(kind, arrays)
    arrays = [reorder(a, order, "keras", "jrnn") for a in arrays]
    w_x, w_h = arrays[:2]
    b_x = arrays[2] if spec.bias else None
    b_h = None
    if b_x is not None and kind == "gru":
        check_shape("The bias of a GRU with reset_after", b_x, (2, w_h.shape[-1]))
        b_x, b_h = b_x
    return build_cell(kind, w_x, w_h, b_x, b_h, **spec.options)


def _from_cudnn(kind: str, arrays: list[Array]) -> list[Array]:
    """Returns the weights of a CuDNN layer of Keras 2 in the layout of the usual layer.

    Their bias concatenates the biases of both matmuls: [6*H] in a GRU and [8*H] in an
    LSTM. CuDNN computes `w x` and Keras `x w`: the recurrent weights of each gate are
    transposed, and so are the input weights, whose elements are stored in the order of
    the transpose but with the shape [F, H].
    """
    w_x, w_h, bias = arrays
    gates, size = CELL_KINDS[kind].gates, w_h.shape[0]
    if bias.shape != (2 * gates * size,):
        return arrays
    split = lambda a: jnp.split(a, gates, -1)  # noqa: E731
    rows = [a.reshape(a.shape[::-1]).T for a in split(w_x)]
    both = bias.reshape(2, -1)
    return [
        jnp.concatenate(rows, -1),
        jnp.concatenate([a.T for a in split(w_h)], -1),
        both if kind == "gru" else both.sum(0),
    ]


def _write(cell: Any, params: Any) -> list[Array]:
    """Lists the arrays of one cell."""
    kind = kind_of(cell, "Keras")
    if kind == "mgu":
        raise no_such_cell(cell, "Keras")
    check_one_activation(cell, "Keras")
    arrays = [params.w_x, params.w_h]
    if params.b_x is not None:
        b_x, b_h = both_biases(params)
        arrays.append(jnp.stack([b_x, b_h]) if kind == "gru" else b_x + b_h)
    order = CELL_KINDS[kind].order
    return [reorder(a, order, "jrnn", "keras") for a in arrays]
