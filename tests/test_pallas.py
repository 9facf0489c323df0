"""The Pallas kernel, interpreted; that it equals the scan is in test_kernels."""

import jax
import jax.numpy as jnp
import pytest

import jrnn
from jrnn.kernels import pallas
from tests.cases import randomise

B, T, F, H = 2, 7, 3, 4


def setting(cell):
    params = randomise(cell.init(jax.random.key(0), F), 1)
    state = randomise(cell.initial_state(params, (B,)), 2)
    return params, state, randomise(jnp.zeros((B, T, F)), 3, scale=1.0)


def test_the_input_weights_stay_off_the_chip():
    cell = jrnn.LSTM(H)
    params, state, xs = setting(cell)
    us = cell.project(params, jnp.moveaxis(xs, 1, 0))
    assert pallas._used(cell.form, params, state, us) == jrnn.cells.LSTMParams(
        *[None] * 4
    )
    cell = jrnn.GRU(H)  # its second bias is under the reset gate
    params, state, xs = setting(cell)
    us = cell.project(params, jnp.moveaxis(xs, 1, 0))
    used = pallas._used(cell.form, params, state, us)
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

    refused("whose form is `jrnn.forms.Gated`", jrnn.ResetBeforeGRU(H), (B,))
    refused("with one batch dimension", jrnn.GRU(H), ())
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    refused("needs a TPU, and JAX runs on gpu. Use method='auto'", jrnn.GRU(H), (B, 1))
