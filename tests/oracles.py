"""One time step of each cell in plain numpy, written from the docstrings."""

import functools
import math
import types
from typing import Any

import jax
import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda x: np.maximum(x, 0),
    "identity": lambda x: x,
    "relu6": lambda x: np.clip(x, 0, 6),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
    "selu": lambda x: (
        1.0507009873554805
        * np.where(x > 0, x, 1.6732632423543772 * (np.exp(np.minimum(x, 0)) - 1))
    ),
    "exponential": np.exp,
}


# Of activations with parameters: functions of these and of x.
VALUES = {
    "LeakyRelu": lambda a, x: np.where(x > 0, x, a.slope * x),
    "ThresholdedRelu": lambda a, x: np.where(x > a.threshold, x, 0),
    "Elu": lambda a, x: np.where(x > 0, x, a.scale * (np.exp(np.minimum(x, 0)) - 1)),
    "ScaledTanh": lambda a, x: a.scale * np.tanh(a.rate * x),
    "Affine": lambda a, x: a.slope * x + a.offset,
    "HardSigmoid": lambda a, x: np.minimum(1, np.maximum(0, a.slope * x + a.offset)),
    "Clipped": lambda a, x: named(a.activation)(np.clip(x, -a.bound, a.bound)),
}


def named(activation: Any) -> Any:
    """Returns the numpy twin of an activation."""
    if isinstance(activation, types.FunctionType):
        return FUNCTIONS[activation.__name__]
    return functools.partial(VALUES[type(activation).__name__], activation)


def bias(*parts: Any) -> Any:
    """Returns the sum of the biases that are there."""
    return sum(part for part in parts if part is not None)


def elman(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    pre = x @ params.w_x + state.h @ params.w_h + bias(params.b_x, params.b_h)
    h = named(cell.activation)(pre)
    return state._replace(h=h), h


def lstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    pre = x @ params.w_x + state.h @ params.w_h + bias(params.b_x, params.b_h)
    gate, activation = named(cell.gate), named(cell.activation)
    i, f, g, o = np.split(pre, 4, axis=-1)
    c = gate(f) * state.c + gate(i) * activation(g)
    h = gate(o) * named(cell.output_activation or cell.activation)(c)
    return state._replace(h=h, c=c), h


def projected_lstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    pre = x @ params.w_x + state.h @ params.w_h + bias(params.b_x, params.b_h)
    gate, activation = named(cell.gate), named(cell.activation)
    i, f, g, o = np.split(pre, 4, axis=-1)
    c = gate(f) * state.c + gate(i) * activation(g)
    h = (gate(o) * activation(c)) @ params.w_p
    return state._replace(h=h, c=c), h


def peephole_lstm(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    pre = x @ params.w_x + state.h @ params.w_h + bias(params.b_x, params.b_h)
    gate, activation = named(cell.gate), named(cell.activation)
    *inner, g, o = np.split(pre, 3 if cell.coupled else 4, axis=-1)
    looks = [0, 0, 0] if params.p is None else np.split(params.p, len(inner) + 1)
    i = gate(inner[0] + looks[0] * state.c)
    f = 1 - i if cell.coupled else gate(inner[1] + looks[1] * state.c)
    c = f * state.c + i * activation(g)
    o = gate(o + looks[-1] * c)
    h = o * named(cell.output_activation or cell.activation)(c)
    return state._replace(h=h, c=c), h


def gru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    size = cell.hidden_size
    u = x @ params.w_x + bias(params.b_x)
    v = state.h @ params.w_h
    if params.b_h is not None:
        v = v + np.pad(params.b_h, (3 * size - params.b_h.size, 0))
    cut = lambda a, k: np.split(a, 3, axis=-1)[k] if np.ndim(a) else a
    gate = named(cell.gate)
    r = gate(cut(u, 0) + cut(v, 0))
    z = gate(cut(u, 1) + cut(v, 1))
    n = named(cell.activation)(cut(u, 2) + r * cut(v, 2))
    h = (1 - z) * n + z * state.h
    return state._replace(h=h), h


def mgu(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    u_f, u_n = np.split(x @ params.w_x + bias(params.b_x), 2, axis=-1)
    v_f, v_n = np.split(state.h @ params.w_h, 2, axis=-1)
    f = named(cell.gate)(u_f + v_f)
    share = v_n + bias(params.b_h)
    n = named(cell.activation)(u_n + (f * share if cell.reset else share))
    h = (1 - f) * n + f * state.h
    return state._replace(h=h), h


def reset_before_gru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    u_r, u_z, u_n = np.split(x @ params.w_x + bias(params.b_x), 3, axis=-1)
    w_r, w_z, w_n = np.split(params.w_h, 3, axis=-1)
    r, z = sigmoid(u_r + state.h @ w_r), sigmoid(u_z + state.h @ w_z)
    n = np.tanh(u_n + (r * state.h) @ w_n)
    h = (1 - z) * n + z * state.h
    return state._replace(h=h), h


def unroll(
    case: Any,
    params: Any,
    state: Any,
    xs: Any,
    lengths: Any = None,
    reverse: Any = False,
) -> Any:
    """Runs an oracle over [batch, time, ...] in Python loops, row by row.

    Returns the final states and the outputs, zero where padded, as trees of arrays.
    """
    tree = jax.tree
    batch, time = xs.shape[:2]
    finals, outputs = [], []
    for row in range(batch):
        current = tree.map(lambda a, row=row: np.asarray(a)[row], state)
        steps = range(time if lengths is None else lengths[row])
        ys: list[Any] = [None] * time
        for t in reversed(steps) if reverse else steps:
            x = np.asarray(xs)[row, t]
            current, ys[t] = case.oracle(case.cell, params, current, x)
        zero = np.zeros_like(next(y for y in ys if y is not None))
        outputs.append(np.stack([zero if y is None else y for y in ys]))
        finals.append(current)
    return tree.map(lambda *leaves: np.stack(leaves), *finals), np.stack(outputs)
