"""Checkpoints of other libraries give the trees of jrnn back, with their types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cases import randomise

F, H, B = 3, 4, 2
LAYER = jrnn.Sequential(
    jrnn.Bidirectional(jrnn.LSTM(H)), jrnn.Dropout(0.5), jrnn.Recurrent(jrnn.GRU(5))
)


def trees():
    """Returns parameters and a state with no zero entry."""
    params = jax.eval_shape(lambda: LAYER.init(jax.random.key(0), F))
    state = jax.eval_shape(lambda p: LAYER.initial_state(p, (B,)), params)
    return {"params": randomise(params, 1), "state": randomise(state, 2)}


def check(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert type(found["params"][0].forward).__name__ == "LSTMParams"
    assert type(found["state"][0].backward).__name__ == "LSTMState"


def test_orbax_gives_named_tuples_back(tmp_path):
    checkpoint = pytest.importorskip("orbax.checkpoint")
    expected = trees()
    template = jax.tree.map(jnp.zeros_like, expected)
    with checkpoint.StandardCheckpointer() as writer:
        writer.save(tmp_path / "model", expected)
        writer.wait_until_finished()
        check(writer.restore(tmp_path / "model", template), expected)


def test_the_msgpack_of_flax_gives_named_tuples_back():
    serialization = pytest.importorskip("flax.serialization")
    expected = trees()
    template = jax.tree.map(jnp.zeros_like, expected)
    data = serialization.to_bytes(expected)
    check(serialization.from_bytes(template, data), expected)
