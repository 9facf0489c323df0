"""Flax linen: `RNN`, batch first."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from experiments.bench.config import SYMBOLS, Size
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


class _Step(linen.Module):
    """Embedding, two LSTM layers and output layer, for one step."""

    size: Size

    @linen.compact
    def __call__(self, carries: Any, ids: Any) -> Any:
        x = linen.Embed(SYMBOLS, self.size.inputs)(ids)
        after = []
        for carry in carries:
            carry, x = linen.OptimizedLSTMCell(self.size.hidden)(carry, x)
            after.append(carry)
        return tuple(after), linen.Dense(SYMBOLS)(x)


def sampler(size: Size) -> Any:
    """Returns a function that generates symbols, and its parameters."""
    model = _Step(size)
    zeros = jnp.zeros((size.batch, size.hidden))
    start = (((zeros, zeros),) * 2, jnp.zeros(size.batch, jnp.int32))

    def run(params: Any) -> Any:
        def step(carried: Any, _: None) -> Any:
            out: Any = model.apply(params, *carried)
            carries, scores = out
            ids = jnp.argmax(scores, axis=-1)
            return (carries, ids), ids

        return jax.lax.scan(step, start, None, length=size.time)[1]

    return run, model.init(jax.random.key(0), *start)
