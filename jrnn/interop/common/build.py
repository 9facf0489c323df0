"""Builds cells from arrays in jrnn's layout, and returns the arrays of a cell."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jrnn.cells import (
    GRU,
    LSTM,
    MGU,
    ConvLSTM,
    ConvLSTMParams,
    Elman,
    ElmanParams,
    GRUParams,
    LSTMParams,
    MGUParams,
    ResetBeforeGRU,
)
from jrnn.interop.common.foreign_arrays import check_shape
from jrnn.types import Array, Params


class CellKind(NamedTuple):
    """A cell that other libraries have too."""

    cell: type[Any]
    params: type[Any]
    gates: int
    order: str = ""  # its key in `gate_orders.GATE_ORDERS`


CELL_KINDS = {
    "elman": CellKind(Elman, ElmanParams, 1),
    "mgu": CellKind(MGU, MGUParams, 2),
    "gru": CellKind(GRU, GRUParams, 3, "gru"),
    "reset_before_gru": CellKind(ResetBeforeGRU, GRUParams, 3, "gru"),
    "lstm": CellKind(LSTM, LSTMParams, 4, "lstm"),
    "conv_lstm": CellKind(ConvLSTM, ConvLSTMParams, 4, "lstm"),
}


def no_such_cell(cell: Any, library: str) -> ValueError:
    """Returns the error for a cell that another library does not have."""
    return ValueError(
        f"{library} has no cell that computes the same as {cell!r}. Use another cell, "
        "or use jrnn's module for that library."
    )


def kind_of(cell: Any, library: str) -> str:
    """Returns the key of a cell in `CELL_KINDS`.

    Raises:
      ValueError: if it is another cell.
    """
    for name, kind in CELL_KINDS.items():
        if type(cell) is kind.cell:
            return name
    raise no_such_cell(cell, library)


def bias_options(*, biased: bool, separate: bool) -> dict[str, Any]:
    """Returns the options of a cell that say which biases it has.

    Args:
      biased: Whether it has a bias.
      separate: Whether input and recurrent matmul have one each.
    """
    two = {"separate_biases": True} if biased and separate else {}
    return {"bias": biased, **two}


def build_cell(
    kind: str,
    w_x: Array,
    w_h: Array,
    b_x: Array | None,
    b_h: Array | None = None,
    **options: Any,
) -> tuple[Any, Params]:
    """Returns the cell that has these arrays, in jrnn's layout, and its parameters.

    Args:
      kind: A key of `CELL_KINDS`.
      w_x: Input weights.
      w_h: Recurrent weights.
      b_x: Bias of the input, or None.
      b_h: Bias of the recurrent matmul, or of the part of it under the reset gate.
      **options: Further options of the cell.

    Raises:
      ValueError: if the arrays do not fit each other.
    """
    made = CELL_KINDS[kind]
    name = made.cell.__name__
    if min(w_x.ndim, w_h.ndim) < 2 or not w_x.size or not w_h.size:
        raise ValueError(
            f"The weights of {name} must be matrices with elements, got input weights "
            f"{list(w_x.shape)} and recurrent weights {list(w_h.shape)}."
        )
    size, wide = w_h.shape[-2:]
    if wide != made.gates * size:
        raise ValueError(
            f"The recurrent weights of {name} must be [{size}, {made.gates} * {size}], "
            f"got {list(w_h.shape)}."
        )
    check_shape("The input weights", w_x, (*w_x.shape[:-1], wide))
    if b_x is not None:
        check_shape("The bias", b_x, (wide,))
    if b_h is not None:
        check_shape("The second bias", b_h, (b_h.shape[-1],))
    if kind == "conv_lstm":
        check_shape("The recurrent weights", w_h, (*w_x.shape[:-2], size, wide))
        options["kernel_size"] = tuple(w_x.shape[:-2])
    if kind == "mgu":
        options["reset"] = b_x is None or b_h is not None
    separate = b_h is not None and b_h.shape[-1] == wide and kind != "mgu"
    options |= bias_options(biased=b_x is not None, separate=separate)
    return made.cell(size, **options), made.params(w_x=w_x, w_h=w_h, b_x=b_x, b_h=b_h)


def shift_forget_bias(b: Array, by: float) -> Array:
    """Adds a constant to the forget gate's bias.

    Some libraries add this constant at every step instead.
    """
    size = b.shape[-1] // 4
    return b.at[size : 2 * size].add(by)


def both_biases(params: Any) -> tuple[Array, Array]:
    """Returns the biases of input and recurrent matmul [k*H]; zeros for a missing one.

    A bias that is only under the reset gate becomes the last block of the second.
    """
    zeros = jnp.zeros(params.w_h.shape[-1], params.w_h.dtype)
    b_x = zeros if params.b_x is None else params.b_x
    if params.b_h is None:
        return b_x, zeros
    return b_x, zeros.at[-params.b_h.shape[-1] :].set(params.b_h)


def gru_biases(params: Any) -> tuple[Array, Array]:
    """Returns the bias of a GRU [3*H], and the bias under its reset gate [H].

    Outside of the reset gate, two biases have the same effect as their sum.
    """
    b_x, b_h = both_biases(params)
    size = b_h.shape[-1] // 3
    return b_x.at[: 2 * size].add(b_h[: 2 * size]), b_h[2 * size :]
