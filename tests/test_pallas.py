"""The Pallas kernel, interpreted: it computes what the plain scan computes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.kernels import pallas
from tests.cases import assert_close, randomise

B, T, F, H = 2, 7, 3, 4


def setting(cell):
    params = randomise(cell.init(jax.random.key(0), F), 1)
    state = randomise(cell.initial_state(params, (B,)), 2)
    return params, state, randomise(jnp.zeros((B, T, F)), 3, scale=1.0)


@functools.partial(jax.jit, static_argnames=("cell", "method", "how"))
def results(cell, args, flags, method, how):
    def loss(args):
        out = jrnn.scan(cell, *args, **flags, method=method, **dict(how))
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), out

    return jax.value_and_grad(loss, has_aux=True)(args)


@pytest.mark.parametrize(
    "cell, how, flagged",
    [
        (jrnn.LSTM(H), {}, False),
        (jrnn.LSTM(H, bias=None), {"return_states": True}, True),
        (jrnn.GRU(H), {"reverse": True}, True),
        (jrnn.GRU(H, bias="double"), {"return_sequence": False}, False),
        (jrnn.Elman(H), {"remat": (3, 3), "reverse": True}, True),
        (jrnn.PeepholeLSTM(H), {}, False),
    ],
    ids=str,
)
def test_values_and_gradients_are_those_of_the_plain_scan(cell, how, flagged):
    rng = np.random.default_rng(0)
    params, state, xs = setting(cell)
    flags = {}
    if flagged:
        mask = jnp.asarray(rng.random((B, T)) < 0.6).at[0].set(False)
        xs = jnp.where(mask[..., None], xs, jnp.nan)
        flags = {"mask": mask, "reset": jnp.asarray(rng.random((B, T)) < 0.4)}
    how = tuple(how.items())
    actual = results(cell, (params, state, xs), flags, "pallas", how)
    assert_close(actual, results(cell, (params, state, xs), flags, "scan", how))


def test_the_input_kernel_stays_off_the_chip():
    cell = jrnn.LSTM(H)
    params, state, xs = setting(cell)
    us = cell.project(params, jnp.moveaxis(xs, 1, 0))
    assert pallas._used(cell, params, state, us) == jrnn.LSTMParams(*[None] * 4)
    cell = jrnn.GRU(H)  # its second bias is under the reset gate
    params, state, xs = setting(cell)
    us = cell.project(params, jnp.moveaxis(xs, 1, 0))
    used = pallas._used(cell, params, state, us)
    assert used.b_h is not None and used._replace(b_h=None) == (None,) * 4


def test_empty_sequences_and_batches_work():
    cell = jrnn.GRU(H)
    params = cell.init(jax.random.key(0), F)
    for shape in [(B, 0, F), (0, T, F)]:
        _, ys = jrnn.scan(cell, params, None, jnp.ones(shape), method="pallas")
        assert ys.shape == (*shape[:2], H)


def test_what_cannot_be_run_is_refused(monkeypatch):
    def refused(message, cell, batch):
        xs = jnp.ones((*batch, T, F))
        with pytest.raises(ValueError, match=message):
            jrnn.scan(cell, cell.init(jax.random.key(0), F), None, xs, method="pallas")

    refused("needs a cell with `update` and `combine`", jrnn.ResetBeforeGRU(H), (B,))
    refused("needs one batch axis", jrnn.GRU(H), ())
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    refused("needs a TPU, and JAX runs on gpu. Use method='auto'", jrnn.GRU(H), (B, 1))
