"""One time step of further gated cells in plain numpy, written from the docstrings."""

from typing import Any

import jax
import numpy as np

from tests.conv_oracle import convolve
from tests.oracles import bias, named
from tests.oracles_wrapped import normalize


def _pre(params: Any, state: Any, x: np.ndarray, gates: int) -> Any:
    pre = x @ params.w_x + state.h @ params.w_h + bias(params.b_x, params.b_h)
    return np.split(pre, gates, axis=-1)


def janet(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    s, g = _pre(params, state, x, 2)
    gate = named(cell.gate)
    h = gate(s) * state.h + (1 - gate(s - cell.beta)) * named(cell.activation)(g)
    return state._replace(h=h), h


def refine_gate_lstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    f, r, g, o = _pre(params, state, x, 4)
    gate, activation = named(cell.gate), named(cell.activation)
    f, r, o, g = gate(f), gate(r), gate(o), activation(g)
    e = r * (1 - (1 - f) ** 2) + (1 - r) * f**2
    c = e * state.c + (1 - e) * g
    h = o * activation(c)
    return state._replace(h=h, c=c), h


def projected_gru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    h = state.c @ params.w_p
    u_r, u_z, u_n = np.split(x @ params.w_x + bias(params.b_x), 3, axis=-1)
    v_r, v_z, v_n = np.split(h @ params.w_h, 3, axis=-1)
    r, z = named(cell.gate)(u_r + v_r), named(cell.gate)(u_z + v_z)
    n = named(cell.activation)(u_n + r * (v_n + bias(params.b_h)))
    c = (1 - z) * n + z * state.c
    return state._replace(c=c), c @ params.w_p


def layer_norm_gru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    cut = 2 * cell.hidden_size

    def apart(a: np.ndarray) -> np.ndarray:
        return np.concatenate([normalize(a[..., :cut]), normalize(a[..., cut:])], -1)

    u = params.scale_x * apart(x @ params.w_x) + bias(params.b_x)
    v = params.scale_h * apart(state.h @ params.w_h)
    (u_r, u_z, u_n), (v_r, v_z, v_n) = np.split(u, 3, -1), np.split(v, 3, -1)
    r, z = named(cell.gate)(u_r + v_r), named(cell.gate)(u_z + v_z)
    n = named(cell.activation)(u_n + r * (v_n + bias(params.b_h)))
    h = (1 - z) * n + z * state.h
    return state._replace(h=h), h


def layer_norm_lstm_of_pytorch(cell: Any, params: Any, state: Any, x: Any) -> Any:
    pre = params.scale_x * normalize(x @ params.w_x) + params.b
    pre = pre + params.scale_h * normalize(state.h @ params.w_h)
    gate, activation = named(cell.gate), named(cell.activation)
    i, f, g, o = np.split(pre, 4, axis=-1)
    c = gate(f) * state.c + gate(i) * activation(g)
    c = params.scale_c * normalize(c) + params.shift_c
    h = gate(o) * activation(c)
    return state._replace(h=h, c=c), h


def conv_gru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    ones = (1,) * len(cell.kernel_size)
    strides, dilation = cell.strides or ones, cell.dilation or ones
    u = convolve(x, params.w_x, strides, cell.padding, dilation) + bias(params.b_x)
    w_r, w_z, w_n = np.split(params.w_h, 3, axis=-1)
    u_r, u_z, u_n = np.split(u, 3, axis=-1)

    def of_state(h: np.ndarray, w: np.ndarray) -> np.ndarray:
        return convolve(h, w, ones, "same", ones)

    r = named(cell.gate)(u_r + of_state(state.h, w_r))
    z = named(cell.gate)(u_z + of_state(state.h, w_z))
    if cell.reset_after:
        share = r * (of_state(state.h, w_n) + bias(params.b_h))
    else:
        share = of_state(r * state.h, w_n)
    h = (1 - z) * named(cell.activation)(u_n + share) + z * state.h
    return state._replace(h=h), h


def multi_head(inner: Any) -> Any:
    """The cell with the block-diagonal matrix that the heads stand for."""

    def oracle(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
        heads, size, width = np.shape(params.w_h)
        gates = width // size
        w = np.zeros((gates, heads * size, heads * size))
        for n in range(heads):
            for k in range(gates):
                rows = slice(n * size, (n + 1) * size)
                w[k, rows, rows] = params.w_h[n][:, k * size : (k + 1) * size]
        dense = params._replace(w_h=np.concatenate(list(w), axis=-1))
        return inner(cell.cell, dense, state, x)

    return oracle


def clip_state(inner: Any) -> Any:
    def oracle(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
        state, _ = inner(cell.cell, params, state, x)
        bounds = cell.bounds
        if not isinstance(bounds, tuple):
            bounds = (bounds,) * len(jax.tree.leaves(state))
        leaves, structure = jax.tree.flatten(state)
        clipped = [
            leaf if bound is None else np.minimum(np.maximum(leaf, -bound), bound)
            for leaf, bound in zip(leaves, bounds, strict=True)
        ]
        state = jax.tree.unflatten(structure, clipped)
        return state, state.h

    return oracle


def cell_clipped_lstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    """The LSTM of TensorFlow with `cell_clip`: the memory is clipped, then read."""
    clip = cell.bounds[1]
    i, f, g, o = _pre(params, state, x, 4)
    gate, activation = named(cell.cell.gate), named(cell.cell.activation)
    c = np.clip(gate(f) * state.c + gate(i) * activation(g), -clip, clip)
    h = gate(o) * np.tanh(c)
    return state._replace(h=h, c=c), h
