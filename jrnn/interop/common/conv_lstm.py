"""The convolutional LSTM of Flax and Haiku, which have the same gate order.

Both add 1 to the forget gate at every step. In jrnn the bias contains this 1.
"""

from typing import Any

from jrnn.cells import ConvLSTM
from jrnn.interop.common.build import both_biases, build_cell, shift_forget_bias
from jrnn.interop.common.foreign_arrays import Reader
from jrnn.interop.common.gate_orders import reorder
from jrnn.types import Array, Params, Shape


def read_conv_lstm(
    weights: Reader, names: tuple[str, ...], spatial: Shape | None, **options: Any
) -> tuple[Any, Params]:
    """Builds the cell and its parameters.

    Args:
      weights: The arrays of the module.
      names: Names of the input weights, the recurrent weights and their two biases.
      spatial: Spatial sizes of the images.
      **options: Further options of the cell.

    Raises:
      ValueError: if `spatial` or an array is missing.
    """
    if spatial is None:
        raise ValueError(
            "The weights of a convolutional LSTM do not determine the size of its "
            "images. Pass their sizes: `spatial=(height, width)`."
        )
    w_x, w_h, b_x, b_h = (
        reorder(weights.take(name), "lstm", "haiku", "jrnn") for name in names
    )
    weights.done()
    options |= {"spatial": tuple(spatial), "padding": "same"}
    b_x = shift_forget_bias(b_x, 1.0)
    return build_cell("conv_lstm", w_x, w_h, b_x, b_h, **options)


def conv_lstm_arrays(params: Any) -> list[Array]:
    """Returns the input weights, the recurrent weights and the bias of each."""
    b_x, b_h = both_biases(params)
    arrays = (params.w_x, params.w_h, shift_forget_bias(b_x, -1.0), b_h)
    return [reorder(a, "lstm", "jrnn", "haiku") for a in arrays]


def check_same_padding(cell: ConvLSTM, library: str) -> None:
    """Raises unless Flax and Haiku support the convolutions of a cell."""
    steps = (*(cell.strides or ()), *(cell.dilation or ()))
    if cell.padding != "same" or any(step != 1 for step in steps):
        raise ValueError(
            f"{library} gives both convolutions of an LSTM one stride and padding. Use "
            f"padding='same' with stride and dilation 1, got {cell!r}."
        )
