"""Weights and states of Equinox's `GRUCell` and `LSTMCell`.

Equinox need only be installed to build its modules.
"""

from collections.abc import Mapping
from typing import Any

import jax

from jrnn.interop import cells, layouts, stacks
from jrnn.layers import Recurrent
from jrnn.types import Array, Layer, Params, State


def from_params(params: Mapping[str, Any]) -> tuple[Recurrent, Params]:
    """Builds a layer and its parameters from the arrays of a cell of Equinox.

    Args:
      params: `weight_ih`, `weight_hh` and, if there are any, `bias` and `bias_n`, which
        is what a GRU has under its reset gate. Entries that are None are passed over.

    Raises:
      ValueError: if arrays are missing, left over, or do not fit each other.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop import equinox
      >>> ones = lambda *shape: np.ones(shape, "float32")
      >>> layer, params = equinox.from_params({
      ...     "weight_ih": ones(16, 3), "weight_hh": ones(16, 4), "bias": ones(16)
      ... })
      >>> layer
      Recurrent(cell=LSTM(hidden_size=4))
    """
    weights = layouts.Reader({k: v for k, v in params.items() if v is not None})
    w_x, w_h = weights.take("weight_ih").T, weights.take("weight_hh").T
    b_x, b_h = weights.maybe("bias"), weights.maybe("bias_n")
    weights.done()
    number = layouts.blocks("weight_hh", w_h.T, w_h.shape[0], axis=0)
    kind = {3: "gru", 4: "lstm"}.get(number)
    if kind is None or (kind == "gru" and (b_x is None) != (b_h is None)):
        raise ValueError(
            f"No cell of Equinox has a weight_hh {list(w_h.T.shape)} with "
            f"bias {b_x is not None} and bias_n {b_h is not None}."
        )
    if kind == "lstm" and b_h is not None:
        raise ValueError("An LSTM has no bias_n.")
    cell, made = cells.make(kind, w_x, w_h, b_x, b_h)
    return Recurrent(cell), made


def to_params(layer: Layer, params: Params) -> dict[str, Array | None]:
    """Returns the parameters of a layer under the names and in the layout of Equinox.

    Args:
      layer: A `Recurrent` of an `LSTM` or a `GRU`.
      params: Its parameters.

    Returns:
      `weight_ih`, `weight_hh`, `bias`, and for a GRU `bias_n`; None for no bias.

    Raises:
      ValueError: if Equinox has no cell that computes the same.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import equinox
      >>> layer = jrnn.Recurrent(jrnn.GRU(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> {k: v.shape for k, v in equinox.to_params(layer, params).items()}
      {'weight_ih': (12, 3), 'weight_hh': (12, 4), 'bias': (12,), 'bias_n': (4,)}
    """
    kind = _kind(layer)
    size = params.w_h.shape[0]
    arrays: dict[str, Array | None] = {
        "weight_ih": params.w_x.T,
        "weight_hh": params.w_h.T,
        "bias": None,
    }
    if kind == "gru":
        arrays["bias_n"] = None
    if params.b_x is None:
        return arrays
    b_x, b_h = cells.filled(params)
    if kind == "lstm":
        return arrays | {"bias": b_x + b_h}
    bias = b_x.at[: 2 * size].add(b_h[: 2 * size])
    return arrays | {"bias": bias, "bias_n": b_h[2 * size :]}


def from_module(module: Any) -> tuple[Recurrent, Params]:
    """Builds a layer and its parameters from an `eqx.nn.GRUCell` or `LSTMCell`.

    Example:
      >>> import types, numpy as np
      >>> from jrnn.interop import equinox
      >>> ones = lambda *shape: np.ones(shape, "float32")
      >>> cell = types.SimpleNamespace(weight_ih=ones(12, 3), weight_hh=ones(12, 4))
      >>> layer, params = equinox.from_module(cell)  # or a cell of Equinox
      >>> layer
      Recurrent(cell=GRU(hidden_size=4, bias=None))
    """
    names = ("weight_ih", "weight_hh", "bias", "bias_n")
    return from_params({name: getattr(module, name, None) for name in names})


def to_module(layer: Layer, params: Params) -> Any:
    """Returns the `eqx.nn.GRUCell` or `LSTMCell` that computes what a layer does.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import equinox
      >>> layer = jrnn.Recurrent(jrnn.GRU(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> cell = equinox.to_module(layer, params)  # doctest: +SKIP
    """
    import equinox  # noqa: PLC0415  optional

    arrays = to_params(layer, params)
    made = equinox.nn.GRUCell if _kind(layer) == "gru" else equinox.nn.LSTMCell
    features, size = params.w_x.shape[0], params.w_h.shape[0]
    key = jax.random.key(0)  # what it draws is replaced
    biased = params.b_x is not None
    module = made(features, size, biased, dtype=params.w_x.dtype, key=key)
    names = [name for name, array in arrays.items() if array is not None]
    return equinox.tree_at(
        lambda cell: [getattr(cell, name) for name in names],
        module,
        [arrays[name] for name in names],
    )


def state_from_equinox(layer: Layer, state: Any) -> State:
    """Returns the state of a layer for that of Equinox's cell: h, or (h, c).

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import equinox
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> equinox.state_from_equinox(layer, (jnp.zeros(4), jnp.ones(4))).c.tolist()
      [1.0, 1.0, 1.0, 1.0]
    """
    return stacks.state_from(layer, state, "Equinox", ("h", "c"))


def state_to_equinox(layer: Layer, state: State) -> Any:
    """Returns the state of a layer as Equinox's cell has it: h, or (h, c).

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import equinox
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> h, c = equinox.state_to_equinox(layer, layer.initial_state(params))
    """
    return stacks.state_to(layer, state, "Equinox", ("h", "c"))


def _kind(layer: Any) -> str:
    """Returns the kind of a layer's cell, which Equinox must have."""
    if not isinstance(layer, Recurrent) or layer.reverse:
        raise ValueError(
            f"Equinox has cells only, and {layer!r} is more than one: convert the "
            "cells of a stack or of both directions one by one, as `Recurrent(cell)`."
        )
    kind = cells.kind_of(layer.cell, "Equinox")
    if kind not in ("gru", "lstm"):
        raise ValueError(f"Equinox has no cell that computes what {layer.cell!r} does.")
    layouts.usual(layer.cell, "Equinox")
    return kind
