"""Flax nnx: `RNN`, batch first."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from experiments.bench.config import Size
from experiments.bench.peers import data

CELLS = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "elman": nnx.SimpleCell}


def build(cell: str, size: Size, method: str) -> Any:
    """Returns the function, its parameters and its inputs."""
    del method
    rngs = nnx.Rngs(0)
    model = nnx.RNN(CELLS[cell](size.inputs, size.hidden, rngs=rngs), rngs=rngs)
    parts: Any = nnx.split(model, nnx.Param, ...)
    graph, params, rest = parts
    zeros = jnp.zeros((size.batch, size.hidden))
    start = (zeros, zeros) if cell == "lstm" else zeros

    def run(params: Any, xs: Any) -> Any:
        return nnx.merge(graph, params, rest)(xs, initial_carry=start)

    return run, params, jnp.asarray(data.inputs(size, time_major=False))
