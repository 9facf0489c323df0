"""Cells by kind: what a conversion makes from arrays in the order of jrnn."""

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
from jrnn.interop import layouts
from jrnn.types import Array, Params


class Kind(NamedTuple):
    """A cell that other libraries have too."""

    cell: type[Any]
    params: type[Any]
    blocks: int  # gates side by side
    gates: str = ""  # name of the gate order in `layouts.GATES`


KINDS = {
    "elman": Kind(Elman, ElmanParams, 1),
    "mgu": Kind(MGU, MGUParams, 2),
    "gru": Kind(GRU, GRUParams, 3, "gru"),
    "reset_before_gru": Kind(ResetBeforeGRU, GRUParams, 3, "gru"),
    "lstm": Kind(LSTM, LSTMParams, 4, "lstm"),
    "conv_lstm": Kind(ConvLSTM, ConvLSTMParams, 4, "lstm"),
}


def kind_of(cell: Any, library: str) -> str:
    """Returns the kind of a cell.

    Raises:
      ValueError: if the cell is none of those that `library` may have.
    """
    for name, kind in KINDS.items():
        if type(cell) is kind.cell:
            return name
    raise ValueError(f"{library} has no cell that computes what {cell!r} does.")


def make(
    kind: str,
    w_x: Array,
    w_h: Array,
    b_x: Array | None,
    b_h: Array | None = None,
    **options: Any,
) -> tuple[Any, Params]:
    """Returns the cell that has these arrays, in jrnn's layout, and its parameters.

    Raises:
      ValueError: if the arrays do not fit each other.
    """
    made = KINDS[kind]
    if min(w_x.ndim, w_h.ndim) < 2 or not w_x.size or not w_h.size:
        raise ValueError(
            f"The kernels of a {made.cell.__name__} must be matrices with entries, got "
            f"{list(w_x.shape)} and {list(w_h.shape)}."
        )
    size, wide = w_h.shape[-2:]
    if wide != made.blocks * size:
        raise ValueError(
            f"The recurrent kernel of a {made.cell.__name__} must be "
            f"[{size}, {made.blocks} * {size}], got {list(w_h.shape)}."
        )
    layouts.shape("the input kernel", w_x, (*w_x.shape[:-1], wide))
    if b_x is not None:
        layouts.shape("the bias", b_x, (wide,))
    if b_h is not None:
        layouts.shape("the second bias", b_h, (b_h.shape[-1],))
    if kind == "conv_lstm":
        layouts.shape("the recurrent kernel", w_h, (*w_x.shape[:-2], size, wide))
        options["kernel_size"] = tuple(w_x.shape[:-2])
    bias = None if b_x is None else "single"
    if b_h is not None and b_h.shape[-1] == wide and kind != "mgu":
        bias = "double"
    if kind == "mgu":
        options["reset"] = b_x is None or b_h is not None
    cell = made.cell(size, bias=bias, **options)
    return cell, made.params(w_x=w_x, w_h=w_h, b_x=b_x, b_h=b_h)


def shift_forget(b: Array, by: float) -> Array:
    """Adds a constant to the forget gate's bias, for libraries that add it later."""
    size = b.shape[-1] // 4
    return b.at[size : 2 * size].add(by)


def filled(params: Any) -> tuple[Array, Array]:
    """Returns both biases [k*H], with zeros for what a cell does not have.

    The bias under the reset gate is the last block of the second.
    """
    zeros = jnp.zeros(params.w_h.shape[-1], params.w_h.dtype)
    b_x = zeros if params.b_x is None else params.b_x
    if params.b_h is None:
        return b_x, zeros
    return b_x, zeros.at[-params.b_h.shape[-1] :].set(params.b_h)


def check_plain_convolution(cell: ConvLSTM, library: str) -> None:
    """Raises unless both convolutions are alike, as they are in Flax and Haiku."""
    steps = (*(cell.strides or ()), *(cell.dilation or ()))
    if cell.padding != "same" or any(step != 1 for step in steps):
        raise ValueError(
            f"{library} gives both convolutions of an LSTM one stride and padding; "
            f"only padding='same' with stride and dilation 1 converts, not {cell!r}."
        )
