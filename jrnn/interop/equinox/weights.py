"""Weights and states of Equinox's `GRUCell` and `LSTMCell`.

Only `to_module` needs Equinox to be installed.
"""

from collections.abc import Mapping
from typing import Any

import jax

from jrnn.interop.common.activation_names import check_default_activations
from jrnn.interop.common.build import (
    both_biases,
    build_cell,
    gru_biases,
    kind_of,
    no_such_cell,
)
from jrnn.interop.common.foreign_arrays import Reader, count_gates
from jrnn.interop.common.states import state_from, state_to
from jrnn.layers import Recurrent
from jrnn.types import Array, Layer, Params, State


def from_params(params: Mapping[str, Any]) -> tuple[Recurrent, Params]:
    """Builds a layer and its parameters from the arrays of a cell of Equinox.

    Args:
      params: The arrays `weight_ih`, `weight_hh`, `bias` and, for a GRU, `bias_n`, its
        bias under the reset gate. Biases may be missing or None.

    Raises:
      ValueError: if arrays are missing, unknown, or do not fit each other.

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
    weights = Reader({k: v for k, v in params.items() if v is not None})
    w_x, w_h = weights.take("weight_ih").T, weights.take("weight_hh").T
    b_x, b_h = weights.maybe("bias"), weights.maybe("bias_n")
    weights.done()
    gates = count_gates("weight_hh", w_h.T, w_h.shape[0], axis=0)
    kind = {3: "gru", 4: "lstm"}.get(gates)
    if kind is None:
        raise ValueError(
            "weight_hh must have 3 or 4 gates, as in a GRUCell or an LSTMCell, got "
            f"{gates}: shape {list(w_h.T.shape)}. Pass the arrays of one such cell."
        )
    if kind == "gru" and (b_x is None) != (b_h is None):
        raise ValueError(
            "A GRUCell must have both bias and bias_n, or neither, got bias: "
            f"{b_x is not None}, bias_n: {b_h is not None}. Pass all of its arrays."
        )
    if kind == "lstm" and b_h is not None:
        raise ValueError("An LSTMCell has no bias_n. Pass the arrays of one cell.")
    cell, made = build_cell(kind, w_x, w_h, b_x, b_h)
    return Recurrent(cell), made


def to_params(layer: Layer, params: Params) -> dict[str, Array | None]:
    """Returns the parameters of a layer with the names and the layout of Equinox.

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
    arrays: dict[str, Array | None] = {
        "weight_ih": params.w_x.T,
        "weight_hh": params.w_h.T,
        "bias": None,
    }
    if kind == "gru":
        arrays["bias_n"] = None
    if params.b_x is None:
        return arrays
    if kind == "lstm":
        b_x, b_h = both_biases(params)
        return arrays | {"bias": b_x + b_h}
    return arrays | dict(zip(("bias", "bias_n"), gru_biases(params), strict=True))


def from_module(module: Any) -> tuple[Recurrent, Params]:
    """Builds a layer and its parameters from an `eqx.nn.GRUCell` or `LSTMCell`.

    Example:
      >>> import types, numpy as np
      >>> from jrnn.interop import equinox
      >>> ones = lambda *shape: np.ones(shape, "float32")
      >>> cell = types.SimpleNamespace(weight_ih=ones(12, 3), weight_hh=ones(12, 4))
      >>> layer, params = equinox.from_module(cell)  # or a cell of Equinox
      >>> layer
      Recurrent(cell=GRU(hidden_size=4, bias=False))
    """
    names = ("weight_ih", "weight_hh", "bias", "bias_n")
    return from_params({name: getattr(module, name, None) for name in names})


def to_module(layer: Layer, params: Params) -> Any:
    """Returns the `eqx.nn.GRUCell` or `LSTMCell` that computes the same as a layer.

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
    key = jax.random.key(0)  # the arrays that it draws are replaced
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
    return state_from(layer, state, "Equinox", ("h", "c"))


def state_to_equinox(layer: Layer, state: State) -> Any:
    """Returns the state of Equinox's cell for that of a layer: h, or (h, c).

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import equinox
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> h, c = equinox.state_to_equinox(layer, layer.initial_state(params))
    """
    return state_to(layer, state, "Equinox", ("h", "c"))


def _kind(layer: Any) -> str:
    """Returns the kind of a layer's cell. Raises if Equinox does not have it."""
    if not isinstance(layer, Recurrent) or layer.reverse:
        raise ValueError(
            f"Equinox has cells only, got {layer!r}. Convert each cell of a stack or "
            "of both directions as `Recurrent(cell)`."
        )
    kind = kind_of(layer.cell, "Equinox")
    if kind not in ("gru", "lstm"):
        raise no_such_cell(layer.cell, "Equinox")
    check_default_activations(layer.cell, "Equinox")
    return kind
