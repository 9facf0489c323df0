"""jrnn: `jrnn.scan`, batch first."""

from typing import Any

import jax
import jax.numpy as jnp

import jrnn
from experiments.bench.config import SYMBOLS, Size
from experiments.bench.peers import data

CELLS = {"lstm": jrnn.LSTM, "gru": jrnn.GRU, "elman": jrnn.Elman}


def build(cell: str, size: Size, method: str) -> Any:
    """Returns the function, its parameters and its inputs."""
    made = CELLS[cell](size.hidden)
    params = made.init(jax.random.key(0), size.inputs)

    def run(params: Any, xs: Any) -> Any:
        return jrnn.scan(made, params, None, xs, method=method)[1]

    return run, params, jnp.asarray(data.inputs(size, time_major=False))


def sampler(size: Size) -> Any:
    """Returns a function that generates symbols, and its parameters."""
    layer = jrnn.Recurrent(jrnn.LSTM(size.hidden))
    dense = jrnn.Dense(SYMBOLS)
    model = jrnn.Sequential(jrnn.Embed(SYMBOLS, size.inputs), layer, layer, dense)
    first = jnp.zeros((size.batch, 1), jnp.int32)

    def run(params: Any) -> Any:
        return jrnn.generate(model, params, None, first, size.time)[1]

    return run, model.init(jax.random.key(0))
