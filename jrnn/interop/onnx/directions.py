"""Converts one direction of a recurrent operator to and from a cell."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jrnn.cells import (
    GRU,
    LSTM,
    Elman,
    ElmanParams,
    GRUParams,
    LSTMParams,
    PeepholeLSTM,
    PeepholeLSTMParams,
    ProjectedLSTM,
    ResetBeforeGRU,
)
from jrnn.interop.common.build import bias_options, both_biases
from jrnn.interop.common.gate_orders import reorder
from jrnn.interop.onnx.activations import unclip
from jrnn.interop.onnx.expect import expect
from jrnn.types import Activation, Array, Cell, Params


class Direction(NamedTuple):
    """One direction of an operator."""

    op_type: str
    functions: list[Activation]  # in ONNX's order
    flags: dict[str, Any]  # attributes that hold for both directions
    arrays: dict[str, Array]  # without the axis of directions


def write(cell: Cell, params: Any) -> Direction:
    """Returns the direction for a cell. Raises if ONNX has no such cell."""
    writers: dict[type, Callable[..., Direction]] = {
        Elman: _write_rnn,
        GRU: _write_gru,
        ResetBeforeGRU: _write_gru,
        LSTM: _write_lstm,
        PeepholeLSTM: _write_lstm,
    }
    names = ", ".join(f"`{each.__name__}`" for each in writers)
    why = f"Use one of {names}."
    if isinstance(cell, ProjectedLSTM):
        why = "The LSTM of ONNX has no input for a projection. Use `LSTM`."
    expect(type(cell) in writers, f"no operator computes {cell!r}. {why}")
    return writers[type(cell)](cell, params)


def _write_rnn(cell: Any, params: Any) -> Direction:
    (function,), flags = unclip([cell.activation])
    return Direction("RNN", [function], flags, _arrays("rnn", params))


def _write_gru(cell: Any, params: Any) -> Direction:
    functions, flags = unclip([cell.gate, cell.activation])
    flags["linear_before_reset"] = int(isinstance(cell, GRU))
    return Direction("GRU", functions, flags, _arrays("gru", params))


def _write_lstm(cell: Any, params: Any) -> Direction:
    out = cell.output_activation or cell.activation
    # onnxruntime clips the inputs of the gates and the candidate, not of `out`.
    functions, flags = unclip([cell.gate, cell.activation])
    coupled = getattr(cell, "coupled", False)
    if coupled:
        flags["input_forget"] = 1
        params = params._replace(**{n: _with_f(getattr(params, n)) for n in _BY_GATE})
    arrays = _arrays("lstm", params)
    p = getattr(params, "p", None)
    if p is not None:
        i, *f, o = jnp.split(p, 2 if coupled else 3)
        arrays["P"] = jnp.concatenate([i, o, *(f or [jnp.zeros_like(i)])])
    return Direction("LSTM", [*functions, out], flags, arrays)


_BY_GATE = ("w_x", "w_h", "b_x", "b_h")


def _with_f(array: Array | None) -> Array | None:
    """Inserts zeros for the forget gate of coupled gates: i, g, o become i, f, g, o."""
    if array is None:
        return None
    i, g, o = jnp.split(array, 3, -1)
    return jnp.concatenate([i, jnp.zeros_like(i), g, o], -1)


def _arrays(kind: str, params: Any) -> dict[str, Array]:
    """Returns the weights and both biases in ONNX's layout."""
    biases = () if params.b_x is None else both_biases(params)
    w, r, *ordered = [
        reorder(array, kind, "jrnn", "onnx", axis=0)
        for array in (params.w_x.T, params.w_h.T, *biases)
    ]
    arrays = {"W": w, "R": r}
    return arrays | {"B": jnp.concatenate(ordered)} if ordered else arrays


def read(
    op_type: str,
    functions: list[Activation],
    attributes: dict[str, Any],
    arrays: dict[str, Array],
) -> tuple[Cell, Params]:
    """Builds the cell of one direction, and its parameters."""
    readers = {"RNN": _read_rnn, "GRU": _read_gru, "LSTM": _read_lstm}
    return readers[op_type](functions, attributes, arrays)


def _read_rnn(
    functions: list[Activation], attributes: dict[str, Any], arrays: dict[str, Array]
) -> tuple[Cell, Params]:
    del attributes
    weights = _by_gate("rnn", arrays)
    options = _bias_options(weights)
    cell = Elman(arrays["R"].shape[-1], activation=functions[0], **options)
    return cell, ElmanParams(*weights)


def _read_gru(
    functions: list[Activation], attributes: dict[str, Any], arrays: dict[str, Array]
) -> tuple[Cell, Params]:
    w_x, w_h, b_x, b_h = _by_gate("gru", arrays)
    options: dict[str, Any] = {"gate": functions[0], "activation": functions[1]}
    biased = b_x is not None
    after = bool(attributes.get("linear_before_reset", 0))
    options |= bias_options(biased=biased, separate=after)
    size = w_h.shape[0]
    if after:
        return GRU(size, **options), GRUParams(w_x, w_h, b_x, b_h)
    b_x = b_x + b_h if biased else None
    return ResetBeforeGRU(size, **options), GRUParams(w_x, w_h, b_x)


def _read_lstm(
    functions: list[Activation], attributes: dict[str, Any], arrays: dict[str, Array]
) -> tuple[Cell, Params]:
    weights = _by_gate("lstm", arrays)
    gate, activation, out = functions
    size = arrays["R"].shape[-1]
    options: dict[str, Any] = {"gate": gate, "activation": activation}
    options["output_activation"] = None if out == activation else out
    options |= _bias_options(weights)
    coupled = bool(attributes.get("input_forget", 0))
    p = arrays.get("P")
    if p is None and not coupled:
        return LSTM(size, **options), LSTMParams(*weights)
    if coupled:
        weights = [None if a is None else _without_f(a) for a in weights]
    w_x, w_h, b_x, b_h = weights
    if p is not None:
        i, o, f = jnp.split(p, 3)
        p = jnp.concatenate([i, o] if coupled else [i, f, o])
    cell = PeepholeLSTM(size, coupled=coupled, peepholes=p is not None, **options)
    return cell, PeepholeLSTMParams(w_x, w_h, b_x, b_h, p)


def _without_f(array: Array) -> Array:
    """Removes the forget gate of coupled gates: i, f, g, o become i, g, o."""
    i, _, g, o = jnp.split(array, 4, -1)
    return jnp.concatenate([i, g, o], -1)


def _by_gate(kind: str, arrays: dict[str, Array]) -> list[Any]:
    """Returns w_x, w_h, b_x and b_h in jrnn's layout; None for missing biases."""
    halves = jnp.split(arrays["B"], 2) if "B" in arrays else []
    w, r, *biases = [
        reorder(array, kind, "onnx", "jrnn", axis=0)
        for array in (arrays["W"], arrays["R"], *halves)
    ]
    return [w.T, r.T, *(biases or (None, None))]


def _bias_options(weights: list[Any]) -> dict[str, Any]:
    return bias_options(biased=weights[2] is not None, separate=True)
