"""jrnn, by its public `scan`, batch first."""

from typing import Any

import jax
import jax.numpy as jnp

import jrnn
from experiments.bench.config import Size
from experiments.bench.peers import data

CELLS = {"lstm": jrnn.LSTM, "gru": jrnn.GRU, "elman": jrnn.Elman}


def build(cell: str, size: Size, method: str) -> Any:
    """Returns the function, its parameters and its inputs."""
    made = CELLS[cell](size.hidden)
    params = made.init(jax.random.key(0), size.inputs)

    def run(params: Any, xs: Any) -> Any:
        return jrnn.scan(made, params, None, xs, method=method)[1]

    return run, params, jnp.asarray(data.inputs(size, time_major=False))
