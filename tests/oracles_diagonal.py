"""One time step of the cells without coupling between units, in plain numpy."""

from typing import Any

import numpy as np

from tests.oracles import bias, named


def indrnn(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    pre = x @ params.w_x + bias(params.b_x) + params.w_h * state.h
    h = named(cell.activation)(pre)
    return state._replace(h=h), h


def paragru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    u = x @ params.w_x + bias(params.b_x)
    (u_r, u_z, u_n), (w_r, w_z, w_n) = (
        np.split(a, 3, axis=-1) for a in (u, params.w_h)
    )
    gate, h = named(cell.gate), state.h
    r, z = gate(u_r + w_r * h), gate(u_z + w_z * h)
    n = named(cell.activation)(u_n + w_n * (r * h))
    h = (1 - z) * h + z * n
    return state._replace(h=h), h


def lru(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    del cell
    eigenvalue = np.exp(-np.exp(params.nu) + 1j * np.exp(params.theta))
    w, c = params.w_re + 1j * params.w_im, params.c_re + 1j * params.c_im
    h = eigenvalue * (state.re + 1j * state.im) + np.exp(params.gamma) * (x @ w)
    y = (h @ c).real + x @ params.d
    return state._replace(re=h.real, im=h.imag), y
