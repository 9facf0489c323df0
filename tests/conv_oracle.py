"""One time step of a convolutional LSTM in plain numpy: convolutions as loops."""

import itertools
from typing import Any

import numpy as np

from tests.oracles import bias, named


def convolve(
    x: np.ndarray, kernel: np.ndarray, strides: Any, padding: str, dilation: Any
) -> np.ndarray:
    """Convolves [*spatial, F] with [*K, F, O], one output position at a time."""
    spans = [(k - 1) * d for k, d in zip(kernel.shape, dilation, strict=False)]
    if padding == "same":
        total = [
            max((-(-n // s) - 1) * s + span + 1 - n, 0)
            for n, s, span in zip(x.shape, strides, spans, strict=False)
        ]
        x = np.pad(x, [*((t // 2, t - t // 2) for t in total), (0, 0)])
    sizes = [
        (n - span - 1) // s + 1
        for n, s, span in zip(x.shape, strides, spans, strict=False)
    ]
    out = np.zeros((*sizes, kernel.shape[-1]))
    for at in itertools.product(*map(range, sizes)):
        window = tuple(
            slice(i * s, i * s + span + 1, d)
            for i, s, span, d in zip(at, strides, spans, dilation, strict=True)
        )
        out[at] = np.tensordot(x[window], kernel, kernel.ndim - 1)
    return out


def conv_lstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    ones = (1,) * len(cell.kernel_size)
    strides, dilation = cell.strides or ones, cell.dilation or ones
    pre = convolve(x, params.w_x, strides, cell.padding, dilation)
    pre = pre + convolve(state.h, params.w_h, ones, "same", ones)
    gate, activation = named(cell.gate), named(cell.activation)
    i, f, g, o = np.split(pre + bias(params.b_x, params.b_h), 4, axis=-1)
    c = gate(f) * state.c + gate(i) * activation(g)
    h = gate(o) * activation(c)
    return state._replace(h=h, c=c), h
