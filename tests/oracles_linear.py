"""One time step of cells that are linear in the state, and of xLSTM, in plain numpy."""

from typing import Any

import numpy as np

from tests.oracles import bias, named


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _blocks(params: Any, x: np.ndarray, number: int) -> Any:
    return np.split(x @ params.w_x + bias(params.b_x), number, axis=-1)


def mingru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    z, n = _blocks(params, x, 2)
    z, n = sigmoid(z), named(cell.activation)(n)
    h = (1 - z) * state.h + z * n
    return state._replace(h=h), h


def minlstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    f, i, n = _blocks(params, x, 3)
    f, i, n = sigmoid(f), sigmoid(i), named(cell.activation)(n)
    h = (f * state.h + i * n) / (f + i)
    return state._replace(h=h), h


def hgrn(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    f, c, g = _blocks(params, x, 3)
    f = cell.forget_floor + (1 - cell.forget_floor) * sigmoid(f)
    h = f * state.h + (1 - f) * c * sigmoid(c)
    return state._replace(h=h), sigmoid(g) * h


def by_head(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Multiplies each head with its own block; returns gates [..., k, H]."""
    heads, size, width = w.shape
    out = np.zeros((*x.shape[:-1], width // size, heads * size))
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        for gate in range(width // size):
            block = w[head][:, gate * size : (gate + 1) * size]
            out[..., gate, own] = x[..., own] @ block
    return out


def rglru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    gates = by_head(x, params.w_x) + params.b_x.reshape(2, -1)
    r, i = sigmoid(gates[..., 0, :]), sigmoid(gates[..., 1, :])
    a = np.exp(-8 * np.log1p(np.exp(params.decay)) * r)
    scale = np.sqrt(1 - a**2)
    if cell.first_unscaled:
        scale = state.first + (1 - state.first) * scale
        state = state._replace(first=np.zeros_like(state.first))
    h = a * state.h + scale * i * x
    return state._replace(h=h), h


def sru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    size = cell.hidden_size
    u = x @ params.w_x
    c, f, r = (u[..., k * size : (k + 1) * size] for k in range(3))
    skip = u[..., 3 * size :] if u.shape[-1] > 3 * size else x
    f, r = f + params.b_x[:size], r + params.b_x[size:]
    if cell.peepholes:
        f, r = f + params.v[:size] * state.c, r + params.v[size:] * state.c
    f, r = sigmoid(f), sigmoid(r)
    c = f * state.c + (1 - f) * c
    state = state._replace(c=c, r=r if cell.peepholes else None)
    return state, r * named(cell.activation)(c) + (1 - r) * skip


def qrnn(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    del cell
    taps = [x @ w for w in params.w_x]
    taps[0] = taps[0] + bias(params.b_x)
    waiting = [np.concatenate(blocks, axis=-1) for blocks in state.pending]
    now = taps[0] + (waiting[0] if waiting else 0)
    z, f, o = np.split(now, 3, axis=-1)
    c = sigmoid(f) * state.c + (1 - sigmoid(f)) * np.tanh(z)
    later = [
        tap + (waiting[k + 1] if k + 1 < len(waiting) else 0)
        for k, tap in enumerate(taps[1:])
    ]
    state = state._replace(
        c=c,
        o=None if state.o is None else sigmoid(o),
        pending=tuple(tuple(np.split(wide, 3, axis=-1)) for wide in later),
    )
    return state, sigmoid(o) * c


def s5(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    rate = -np.exp(params.log_decay) + 1j * params.frequency
    step = np.exp(params.log_step)
    if cell.discretization == "zoh":
        a = np.exp(rate * step)
        gain = (a - 1) / rate
    else:
        a = (1 + rate * step / 2) / (1 - rate * step / 2)
        gain = step / (1 - rate * step / 2)
    b, c = params.b_re + 1j * params.b_im, params.c_re + 1j * params.c_im
    h = a * (state.re + 1j * state.im) + gain * (x @ b)
    return state._replace(re=h.real, im=h.imag), 2 * (h @ c).real + params.d * x


def paralstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    del cell
    f, z, o = _blocks(params, x, 3)
    (w_f, w_z, w_o), (p_f, p_o) = np.split(params.w_h, 3), np.split(params.w_c, 2)
    f = sigmoid(f + w_f * state.h + p_f * state.c)
    c = f * state.c + (1 - f) * np.tanh(z + w_z * state.h)
    h = sigmoid(o + w_o * state.h + p_o * c) * np.tanh(c)
    return state._replace(h=h, c=c), h


def slstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    del cell
    i, f, z, o = _blocks(params, x, 4)
    recurrent = by_head(state.h, params.w_h)
    i, f, z, o = (u + recurrent[..., k, :] for k, u in enumerate((i, f, z, o)))
    kept = np.log(sigmoid(f)) + state.m
    m = np.where(state.n == 0, i, np.maximum(kept, i))
    f, i = np.exp(kept - m), np.exp(i - m)
    c = f * state.c + i * np.tanh(z)
    n = f * state.n + i
    h = sigmoid(o) * c / n
    return state._replace(h=h, c=c, n=n, m=m), h


def mlstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    heads, size = cell.heads, cell.hidden_size // cell.heads
    q, k, v = np.split(x @ params.w_qkv, 3, axis=-1)
    i, f = np.split(x @ params.w_if + params.b_if, 2, axis=-1)
    o = sigmoid(x @ params.w_o + params.b_o)
    q, k, v = (a.reshape(*x.shape[:-1], heads, size) for a in (q, k / size**0.5, v))
    kept = np.log(sigmoid(f)) + (state.m if cell.stabilized else 0)
    m = np.maximum(kept, i) if cell.stabilized else np.zeros_like(i)
    f, i = np.exp(kept - m)[..., None], np.exp(i - m)[..., None]
    c = f[..., None] * state.c + (i * k)[..., :, None] * v[..., None, :]
    n = f * state.n + i * k
    found = np.einsum("...hk,...hkv->...hv", q, c)
    weight = np.maximum(np.abs((n * q).sum(-1)), np.exp(-m)) + cell.epsilon
    y = (found / weight[..., None]).reshape(*x.shape[:-1], heads * size)
    return state._replace(c=c, n=n, m=m if cell.stabilized else None), o * y
