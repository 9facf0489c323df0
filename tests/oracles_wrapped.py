"""Cells around a cell in plain numpy: each takes the oracle of the cell inside."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import jrnn
from tests import oracles

Oracle = Callable[..., Any]


def zoneout(inner: Oracle) -> Oracle:
    def oracle(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
        rates = cell.rates
        if not isinstance(rates, tuple):
            rates = (rates,) * len(jax.tree.leaves(state))
        new, _ = inner(cell.cell, params, state, x)
        rates = jax.tree.unflatten(jax.tree.structure(state), rates)
        state = jax.tree.map(lambda r, a, b: r * a + (1 - r) * b, rates, state, new)
        return state, _read(cell.cell, params, state, x)

    return oracle


def _read(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    """Reads the output from a state: h, or what the docstrings of others say."""
    if isinstance(cell, jrnn.ResidualCell):
        return x + _read(cell.cell, params, state, x)
    if isinstance(cell, jrnn.LearnedState):
        return _read(cell.cell, params.cell, state, x)
    if isinstance(cell, jrnn.LRU):
        return state.re @ params.c_re - state.im @ params.c_im + x @ params.d
    return state.h


def residual(inner: Oracle) -> Oracle:
    def oracle(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
        state, y = inner(cell.cell, params, state, x)
        return state, y + x

    return oracle


def unchanged(inner: Oracle) -> Oracle:
    return lambda cell, params, state, x: inner(cell.cell, params, state, x)


def learned(inner: Oracle) -> Oracle:
    return lambda cell, params, state, x: inner(cell.cell, params.cell, state, x)


def normalize(a: np.ndarray) -> np.ndarray:
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)


def _gates(x: np.ndarray, h: np.ndarray, w_x: Any, w_h: Any, params: Any) -> Any:
    return params.scale_x * normalize(x @ w_x), params.scale_h * normalize(h @ w_h)


def _memory(pre: np.ndarray, state: Any) -> tuple[np.ndarray, np.ndarray]:
    i, f, g, o = np.split(pre, 4, axis=-1)
    c = oracles.sigmoid(f) * state.c + oracles.sigmoid(i) * np.tanh(g)
    return c, oracles.sigmoid(o)


def layer_norm_lstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    u, v = _gates(x, state.h, params.w_x, params.w_h, params)
    c, o = _memory(u + v + params.b, state)
    h = o * np.tanh(params.scale_c * normalize(c) + params.shift_c)
    return state._replace(h=h, c=c), h


def layer_normed_lstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    p = params.cell
    u, v = _gates(x, state.h, p.w_x, p.w_h, params)
    c, o = _memory(u + v + p.b_x, state)
    h = o * np.tanh(c)
    return state._replace(h=h, c=c), h


def layer_normed_gru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    p, size = params.cell, cell.output_size
    u, v = _gates(x, state.h, p.w_x, p.w_h, params)
    u = u + p.b_x
    rz = oracles.sigmoid(u[..., : 2 * size] + v[..., : 2 * size])
    r, z = np.split(rz, 2, axis=-1)
    n = np.tanh(u[..., 2 * size :] + r * (v[..., 2 * size :] + p.b_h))
    h = (1 - z) * n + z * state.h
    return state._replace(h=h), h
