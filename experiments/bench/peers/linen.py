"""Flax linen: `RNN`, batch first."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from experiments.bench.config import Size
from experiments.bench.peers import data

CELLS = {
    "lstm": linen.OptimizedLSTMCell,
    "gru": linen.GRUCell,
    "elman": linen.SimpleCell,
}


def build(cell: str, size: Size, method: str) -> Any:
    """Returns the function, its parameters and its inputs."""
    del method
    model = linen.RNN(CELLS[cell](size.hidden))
    xs = jnp.asarray(data.inputs(size, time_major=False))
    return model.apply, model.init(jax.random.key(0), xs), xs
