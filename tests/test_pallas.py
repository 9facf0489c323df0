"""The Pallas kernel, interpreted; that it equals the scan is in test_kernels."""

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


def test_what_cannot_be_run_is_refused():
    def refused(message, cell, batch):
        xs = jnp.ones((*batch, T, F))
        with pytest.raises(ValueError, match=message):
            jrnn.scan(cell, cell.init(jax.random.key(0), F), None, xs, method="pallas")

    refused("whose form is `jrnn.forms.Gated`", jrnn.ResetBeforeGRU(H), (B,))
    refused("with one batch dimension", jrnn.GRU(H), ())


@pytest.mark.parametrize(
    "cell, dtype, how",
    [
        (jrnn.LSTM(H), "float32", {"reset": True}),
        (jrnn.GRU(H), "bfloat16", {"reverse": True, "lengths": True}),
        (jrnn.Elman(H), "float32", {"lengths": True}),
        (jrnn.PeepholeLSTM(H), "bfloat16", {}),
    ],
)
def test_blocks_of_the_batch_need_not_divide_it(cell, dtype, how, monkeypatch):
    """37 rows in blocks of 32; sizes are no multiple of a tile."""
    rows, rng = 37, np.random.default_rng(0)
    params = randomise(cell.init(jax.random.key(0), F, dtype), 1)
    state = randomise(cell.initial_state(params, (rows,)), 2)
    xs = randomise(jnp.zeros((rows, T, F), dtype), 3, scale=1.0)
    how = dict(how)
    if how.get("lengths"):
        how["lengths"] = jnp.asarray(rng.integers(0, T + 1, rows))
    if how.get("reset"):
        how["reset"] = jnp.asarray(rng.random((rows, T)) < 0.3)
    monkeypatch.setattr(pallas, "_rows", lambda *given: 32)
    blocks = jrnn.kernels.Pallas(memory=2**24)  # compiled for no other test
    found = jrnn.scan(cell, params, state, xs, method=blocks, **how)
    tolerance = 1e-6 if dtype == "float32" else 0.03
    assert_close(
        found, jrnn.scan(cell, params, state, xs, method="scan", **how), tolerance
    )


def test_weights_that_do_not_fit_are_refused_with_their_bytes():
    """Three gates of 128 units in float32, and the bias of one."""
    cell = jrnn.GRU(128)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), F))
    weights = 128 * 3 * 128 * 4 + 8 * 128 * 4  # a vector takes a row of tiles
    small = jrnn.kernels.Pallas(memory=weights)
    with pytest.raises(ValueError, match=rf"{weights} bytes.*may use {weights} bytes"):
        jax.eval_shape(
            lambda params, xs: jrnn.scan(cell, params, None, xs, method=small),
            params,
            jax.ShapeDtypeStruct((B, T, F), jnp.float32),
        )


def test_blocks_have_as_many_rows_as_fit():
    """A row is 128 words twice, for the next one is fetched, and once to compute."""
    weights = jax.ShapeDtypeStruct((128, 512), jnp.float32)
    xs = jax.ShapeDtypeStruct((T, 1000, 100), jnp.float32)
    for rows in (512, 256, 64, 32):
        memory = 128 * 512 * 4 + 3 * rows * 128 * 4
        assert pallas._rows(1000, weights, (), xs, memory) == rows
    assert pallas._rows(37, weights, (), xs, memory * 2) == 37
