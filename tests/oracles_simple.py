"""One time step of further simple networks in plain numpy, from the docstrings."""

from typing import Any

import numpy as np

from tests.oracles import bias, named, sigmoid


def jordan(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    pre = x @ params.w_x + bias(params.b_x) + state.y @ params.w_y
    h = named(cell.activation)(pre)
    y = named(cell.output_activation)(h @ params.w_o + bias(params.b_o))
    return state._replace(y=y), y


def output_to_output(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    h = named(cell.activation)(x @ params.w_x + bias(params.b_x))
    pre = h @ params.w_o + bias(params.b_o) + state.y @ params.w_y
    y = named(cell.output_activation)(pre)
    return state._replace(y=y), y


def modrelu(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    pre = x @ params.w_x + state.h @ params.w_h
    h = np.sign(pre) * np.maximum(np.abs(pre) + params.b, 0)
    return state._replace(h=h), h


def skew(packed: np.ndarray, size: int) -> np.ndarray:
    a, entries = np.zeros((size, size)), iter(packed)
    for row in range(size):
        for column in range(row):
            a[row, column] = next(entries)
            a[column, row] = -a[row, column]
    return a


def antisymmetric(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    size = cell.hidden_size
    w = skew(params.w_h, size) - cell.gamma * np.eye(size)
    u, v = x @ params.w_x + bias(params.b_x), state.h @ w
    change = np.tanh(u[:size] + v)
    if cell.gated:
        change = sigmoid(u[size:] + v) * change
    h = state.h + cell.epsilon * change
    return state._replace(h=h), h


def orthogonal(inner: Any) -> Any:
    """The cell with the matrices that the parameters stand for."""

    def matrix(cell: Any, packed: np.ndarray, size: int) -> np.ndarray:
        a, one = skew(packed, size), np.eye(size)
        if cell.parametrization == "cayley":
            w = np.linalg.inv(one + a) @ (one - a)
        else:  # by eigenvalues, which are imaginary
            values, vectors = np.linalg.eig(a)
            w = (vectors @ np.diag(np.exp(values)) @ np.linalg.inv(vectors)).real
        signs = np.ones(size)
        signs[size - (cell.negative or 0) :] = -1
        return w @ np.diag(signs)

    def gates(cell: Any, packed: np.ndarray, size: int) -> np.ndarray:
        return np.concatenate([matrix(cell, p, size) for p in packed], axis=-1)

    def oracle(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
        packed = np.asarray(params.w_h)
        size = cell.output_size
        if packed.ndim == 3:
            size //= len(packed)
            w = np.stack([gates(cell, p, size) for p in packed])
        else:
            w = gates(cell, packed, size)
        return inner(cell.cell, params._replace(w_h=w), state, x)

    return oracle
