"""Haiku: `dynamic_unroll`, time first."""

from typing import Any

import haiku
import jax
import jax.numpy as jnp

from experiments.bench.config import Size
from experiments.bench.peers import data

CELLS = {"lstm": haiku.LSTM, "gru": haiku.GRU, "elman": haiku.VanillaRNN}


def build(cell: str, size: Size, method: str) -> Any:
    """Returns the function, its parameters and its inputs."""
    del method

    def network(xs: Any) -> Any:
        core = CELLS[cell](size.hidden)
        ys, _ = haiku.dynamic_unroll(core, xs, core.initial_state(size.batch))
        return ys

    model: Any = haiku.without_apply_rng(haiku.transform(network))
    xs = jnp.asarray(data.inputs(size, time_major=True))
    return model.apply, model.init(jax.random.key(0), xs), xs
