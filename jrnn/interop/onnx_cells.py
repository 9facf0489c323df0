"""One direction of ONNX's recurrent operators, to and from cells."""

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
from jrnn.interop import layouts, onnx_activations
from jrnn.types import Activation, Array, Cell, Params


class Side(NamedTuple):
    """What one direction of an operator needs."""

    op_type: str
    functions: list[Activation]  # in ONNX's order
    flags: dict[str, Any]  # attributes that both directions share
    arrays: dict[str, Array]  # without the axis of directions


def write(cell: Cell, params: Any) -> Side:
    """Describes one direction; raises where ONNX has no such cell."""
    writers: dict[type, Callable[..., Side]] = {
        Elman: _write_rnn,
        GRU: _write_gru,
        ResetBeforeGRU: _write_gru,
        LSTM: _write_lstm,
        PeepholeLSTM: _write_lstm,
    }
    why = "RNN, GRU and LSTM compute Elman, GRU, ResetBeforeGRU, LSTM and PeepholeLSTM."
    if isinstance(cell, ProjectedLSTM):
        why = "LSTM feeds back its output as it is and has no input for a projection."
    expect(type(cell) in writers, f"no operator computes {cell!r}: {why}")
    return writers[type(cell)](cell, params)


def _write_rnn(cell: Any, params: Any) -> Side:
    (function,), flags = onnx_activations.unclip([cell.activation])
    return Side("RNN", [function], flags, _arrays("rnn", params))


def _write_gru(cell: Any, params: Any) -> Side:
    functions, flags = onnx_activations.unclip([cell.gate, cell.activation])
    flags["linear_before_reset"] = int(isinstance(cell, GRU))
    return Side("GRU", functions, flags, _arrays("gru", params))


def _write_lstm(cell: Any, params: Any) -> Side:
    out = cell.output_activation or cell.activation
    # onnxruntime clips what enters the gates and the candidate, not the memory.
    functions, flags = onnx_activations.unclip([cell.gate, cell.activation])
    coupled = getattr(cell, "coupled", False)
    if coupled:
        flags["input_forget"] = 1
        params = params._replace(**{n: _with_f(getattr(params, n)) for n in _FUSED})
    arrays = _arrays("lstm", params)
    p = getattr(params, "p", None)
    if p is not None:
        i, *f, o = jnp.split(p, 2 if coupled else 3)
        arrays["P"] = jnp.concatenate([i, o, *(f or [jnp.zeros_like(i)])])
    return Side("LSTM", [*functions, out], flags, arrays)


_FUSED = ("w_x", "w_h", "b_x", "b_h")


def _with_f(array: Array | None) -> Array | None:
    """Puts zeros where coupled gates have no forget gate: i, g, o to i, f, g, o."""
    if array is None:
        return None
    i, g, o = jnp.split(array, 3, -1)
    return jnp.concatenate([i, jnp.zeros_like(i), g, o], -1)


def _arrays(kind: str, params: Any) -> dict[str, Array]:
    """Returns the kernels and both biases in ONNX's layout."""
    biases = [] if params.b_x is None else [params.b_x, _second_bias(params)]
    w, r, *turned = [
        layouts.reorder(array, kind, "jrnn", "onnx", axis=0)
        for array in (params.w_x.T, params.w_h.T, *biases)
    ]
    arrays = {"W": w, "R": r}
    return arrays | {"B": jnp.concatenate(turned)} if turned else arrays


def _second_bias(params: Any) -> Array:
    """Returns the bias of the state's product [k*H], zero where there is none.

    A GRU with a single bias has [H] under the reset gate, the last of the gates.
    """
    zeros = jnp.zeros_like(params.b_x)
    if params.b_h is None:
        return zeros
    return zeros.at[-params.b_h.shape[0] :].set(params.b_h)


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
    fused, bias = _fused("rnn", arrays)
    cell = Elman(arrays["R"].shape[-1], activation=functions[0], bias=bias)
    return cell, ElmanParams(*fused)


def _read_gru(
    functions: list[Activation], attributes: dict[str, Any], arrays: dict[str, Array]
) -> tuple[Cell, Params]:
    (w_x, w_h, b_x, b_h), bias = _fused("gru", arrays)
    gate, activation = functions
    size = w_h.shape[0]
    if attributes.get("linear_before_reset", 0):
        return GRU(size, gate, activation, bias), GRUParams(w_x, w_h, b_x, b_h)
    if bias:
        b_x, bias = b_x + b_h, "single"
    return ResetBeforeGRU(size, gate, activation, bias), GRUParams(w_x, w_h, b_x)


def _read_lstm(
    functions: list[Activation], attributes: dict[str, Any], arrays: dict[str, Array]
) -> tuple[Cell, Params]:
    fused, bias = _fused("lstm", arrays)
    gate, activation, out = functions
    size = arrays["R"].shape[-1]
    common: dict[str, Any] = {"gate": gate, "activation": activation, "bias": bias}
    common["output_activation"] = None if out == activation else out
    coupled = bool(attributes.get("input_forget", 0))
    p = arrays.get("P")
    if p is None and not coupled:
        return LSTM(size, **common), LSTMParams(*fused)
    if coupled:
        fused = [None if a is None else _without_f(a) for a in fused]
    if p is not None:
        i, o, f = jnp.split(p, 3)
        p = jnp.concatenate([i, o] if coupled else [i, f, o])
    cell = PeepholeLSTM(size, coupled=coupled, peepholes=p is not None, **common)
    w_x, w_h, b_x, b_h = fused
    return cell, PeepholeLSTMParams(w_x, w_h, b_x, b_h, p)


def _without_f(array: Array) -> Array:
    i, _, g, o = jnp.split(array, 4, -1)
    return jnp.concatenate([i, g, o], -1)


def _fused(kind: str, arrays: dict[str, Array]) -> tuple[Any, str | None]:
    """Returns w_x, w_h, b_x and b_h in jrnn's layout, and what `bias` they make."""
    halves = jnp.split(arrays["B"], 2) if "B" in arrays else []
    w, r, *biases = [
        layouts.reorder(array, kind, "onnx", "jrnn", axis=0)
        for array in (arrays["W"], arrays["R"], *halves)
    ]
    b_x, b_h = biases or (None, None)
    return [w.T, r.T, b_x, b_h], "double" if biases else None


def expect(truth: bool, message: str) -> None:
    """Raises unless `truth`."""
    if not truth:
        raise ValueError(f"ONNX: {message}")
