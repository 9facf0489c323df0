"""Equinox: a cell in the loop of its documentation. It does not have an Elman cell."""

from typing import Any

import equinox
import jax
import jax.numpy as jnp

from experiments.bench.config import Size
from experiments.bench.peers import data

CELLS = {"lstm": equinox.nn.LSTMCell, "gru": equinox.nn.GRUCell}


def build(cell: str, size: Size, method: str) -> Any:
    """Returns the function, its parameters and its inputs."""
    del method
    if cell not in CELLS:
        raise ValueError(f"Equinox has no {cell} cell.")
    made = CELLS[cell](size.inputs, size.hidden, key=jax.random.key(0))
    params, static = equinox.partition(made, equinox.is_array)
    zeros = jnp.zeros((size.batch, size.hidden))

    def run(params: Any, xs: Any) -> Any:
        one = jax.vmap(equinox.combine(params, static))

        def step(state: Any, x: Any) -> Any:
            state = one(x, state)
            return state, (state[0] if cell == "lstm" else state)

        start = (zeros, zeros) if cell == "lstm" else zeros
        return jax.lax.scan(step, start, xs)[1]

    return run, params, jnp.asarray(data.inputs(size, time_major=True))
