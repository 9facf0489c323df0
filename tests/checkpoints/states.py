"""States of training runs, with every kind of leaf."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jrnn

MODEL = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(3)), jrnn.Dense(2))
TX = jrnn.training.optimizer(optax.adam(1e-2))
FACTS = {
    "config": {"hidden_size": 3, "rate": 0.01},
    "data": "3f78",
    "words": ["a", "b"],
}


class Learner(NamedTuple):
    params: Any
    opt_state: Any
    state: Any
    key: Any
    extra: Any


def learner(seed: int = 0) -> Learner:
    """Returns a state that differs in every leaf from that of another seed."""
    key = jax.random.key(seed)
    params = MODEL.init(key, 4)
    state = MODEL.initial_state(params, (5,))
    shifted = jax.tree.map(lambda a: a + (seed + 1), (params, state))
    extra = {
        "half": jnp.full(3, seed + 0.5, jnp.bfloat16),
        "flags": np.array([True, seed > 0]),
        "count": seed,
        "empty": jnp.zeros((0, 2)),
    }
    return Learner(shifted[0], TX.init(shifted[0]), shifted[1], key, extra)


def assert_same(actual: Any, expected: Any) -> None:
    """Raises unless two trees are equal bit for bit, with equal types."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert type(a) is type(b)
        if hasattr(a, "dtype") and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = map(jax.random.key_data, (a, b))
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert np.asarray(a).dtype == np.asarray(b).dtype
