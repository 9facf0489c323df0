"""Weights and states of the recurrent layers of Keras 3.

Everything here works on lists of arrays, as `get_weights` returns them, and on plain
dictionaries of options: Keras need not be installed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.interop import cells, keras_options as options, layouts, stacks
from jrnn.layers import BidirectionalParams
from jrnn.types import Array, Layer, Params, State


def from_weights(
    weights: Sequence[Any], config: Mapping[str, Any] | None = None
) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from the weights of a Keras layer.

    Where Keras differs at run time, the caller decides: `go_backwards` becomes
    `reverse`, whose outputs keep the order of the inputs, while Keras reverses them;
    masked outputs are zero here, and held there unless `zero_output_for_mask`. Dropout
    is no part of the result.

    Args:
      weights: `layer.get_weights()` of a `SimpleRNN`, `LSTM`, `GRU`, `ConvLSTM1D` to
        `ConvLSTM3D`, of an `RNN` over one of their cells or a list of them, or of a
        `Bidirectional` around one of these.
      config: `keras.saving.serialize_keras_object(layer)`. Without it, options are
        Keras's defaults, and kind, number of cells and biases are read from the shapes.

    Returns:
      A `Recurrent` or `Bidirectional`, or a `Sequential` of several; and its
      parameters.

    Raises:
      ValueError: if weights are missing, left over, or do not tell what they are of.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop import keras
      >>> ones = lambda *shape: np.ones(shape, "float32")
      >>> layer, params = keras.from_weights([ones(3, 12), ones(4, 12), ones(2, 12)])
      >>> layer
      Recurrent(cell=GRU(hidden_size=4, bias='double'))
    """
    arrays = [layouts.array(f"weights[{i}]", w) for i, w in enumerate(weights)]
    plan = options.from_shapes(arrays) if config is None else options.read(config)
    layers, params = [], []
    rest = iter(arrays)
    for level in plan:
        pairs = [_read(spec, rest) for spec in level.cells]
        layers.append(level.layer(*(cell for cell, _ in pairs)))
        own = [made for _, made in pairs]
        params.append(BidirectionalParams(*own) if len(own) == 2 else own[0])
    left = len(list(rest))
    if left:
        raise ValueError(
            f"{left} of {len(arrays)} weights are left over: the list is of other "
            "cells."
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
      Kernel, recurrent kernel and bias of each cell, forwards before backwards. Two
      biases that Keras has not are added up.

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
    for part, own in zip(
        stacks.recurrent(layer, "Keras"), stacks.entries(layer, params), strict=True
    ):
        for cell, arrays in stacks.sides(part, own):
            written += _write(cell, arrays)
    return [np.array(array) for array in written]


def state_from_keras(layer: Layer, states: Sequence[Any]) -> State:
    """Returns the state of a layer for the list of states that Keras has.

    Args:
      layer: As for `to_weights`.
      states: Of each cell h, and c if it has one; forwards before backwards. Lists may
        be nested.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import keras
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4))
      >>> state = keras.state_from_keras(layer, [jnp.zeros(4), jnp.ones(4)])
      >>> state.backward.h.tolist()
      [1.0, 1.0, 1.0, 1.0]
    """
    parts = stacks.recurrent(layer, "Keras")
    rest = iter(jax.tree.leaves(list(states)))
    made = []
    try:
        for part in parts:
            for cell, _ in stacks.sides(part, (None, None)):
                names = ("h", "c") if stacks.has_memory(cell) else ("h",)
                arrays = {name: layouts.array(name, next(rest)) for name in names}
                made.append(stacks.cell_state(cell, **arrays))
    except StopIteration:
        raise ValueError(f"There are too few states for {layer!r}.") from None
    if list(rest):
        raise ValueError(f"There are too many states for {layer!r}.")
    return stacks.assemble(layer, stacks.pair_up(parts, made))


def state_to_keras(layer: Layer, state: State) -> list[Any]:
    """Returns the state of a layer as Keras's list; of a stack, one entry per layer.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import keras
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> h, c = keras.state_to_keras(layer, layer.initial_state(params))
    """
    made = stacks.state_to(layer, state, "Keras", ("h", "c"))
    if isinstance(made, list):  # a stack
        leaves = [jax.tree.leaves(each) for each in made]
        return [each[0] if len(each) == 1 else each for each in leaves]
    return jax.tree.leaves(made)


def _read(spec: options.Spec, rest: Any) -> tuple[Any, Params]:
    """Reads the arrays of one cell from those that are left."""
    kind = spec.kind
    gates = cells.KINDS[kind].gates
    numbers = range(3 if spec.bias else 2)
    arrays = [
        layouts.reorder(a, gates, "keras", "jrnn")
        for _, a in zip(numbers, rest, strict=False)
    ]
    if len(arrays) < len(numbers):
        raise ValueError(f"There are too few weights: a {kind} has {len(numbers)}.")
    w_x, w_h = arrays[:2]
    b_x = arrays[2] if spec.bias else None
    b_h = None
    if b_x is not None and kind == "gru":
        layouts.shape("the bias of a GRU with reset_after", b_x, (2, w_h.shape[-1]))
        b_x, b_h = b_x
    return cells.make(kind, w_x, w_h, b_x, b_h, **spec.options)


def _write(cell: Any, params: Any) -> list[Array]:
    """Lists the arrays of one cell."""
    kind = cells.kind_of(cell, "Keras")
    if kind == "mgu":
        raise ValueError(f"Keras has no cell that computes what {cell!r} does.")
    if getattr(cell, "output_activation", None) not in (None, cell.activation):
        raise ValueError(
            f"Keras's LSTM has one activation for candidate and memory, but {cell!r} "
            "has two."
        )
    arrays = [params.w_x, params.w_h]
    if params.b_x is not None:
        b_x, b_h = cells.filled(params)
        arrays.append(jnp.stack([b_x, b_h]) if kind == "gru" else b_x + b_h)
    gates = cells.KINDS[kind].gates
    return [layouts.reorder(a, gates, "jrnn", "keras") for a in arrays]
