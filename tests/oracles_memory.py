"""One time step of cells with a long memory in plain numpy, from the docstrings."""

from typing import Any

import numpy as np

from tests.oracles import bias, named, sigmoid


def lem(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    activation = named(cell.activation)
    u_a, u_b, u_z, u_y = np.split(x @ params.w_x + bias(params.b_x), 4)
    w_a, w_b, w_z = np.split(params.w_y, 3, axis=1)
    a = cell.dt * sigmoid(u_a + state.y @ w_a)
    b = cell.dt * sigmoid(u_b + state.y @ w_b)
    z = (1 - a) * state.z + a * activation(u_z + state.y @ w_z)
    y = (1 - b) * state.y + b * activation(u_y + z @ params.w_z)
    return state._replace(y=y, z=z), y


def cornn(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    of_y, of_z = np.split(params.w_h, 2)
    pre = x @ params.w_x + bias(params.b_x) + state.y @ of_y + state.z @ of_z
    force = named(cell.activation)(pre) - cell.gamma * state.y - cell.epsilon * state.z
    z = state.z + cell.dt * force
    y = state.y + cell.dt * z
    return state._replace(y=y, z=z), y


def unicornn(cell: Any, params: Any, state: Any, x: np.ndarray) -> Any:
    s = cell.dt * sigmoid(params.c)
    pre = x @ params.w_x + bias(params.b_x) + params.w_h * state.y
    z = state.z - s * (named(cell.activation)(pre) + cell.alpha * state.y)
    y = state.y + s * z
    return state._replace(y=y, z=z), y
