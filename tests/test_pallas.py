"""The Pallas kernel, interpreted; that it equals the scan is in test_kernels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.kernels.pallas import steps, tpu
from jrnn.testing import weighted_sum
from tests.cases import assert_close, randomise, shapes

B, T, F, H = 2, 7, 3, 4


def setting(cell):
    params = randomise(shapes(cell, F), 1)
    state = randomise(cell.initial_state(params, (B,)), 2)
    return params, state, randomise(np.zeros((B, T, F)), 3, scale=1.0)


def arrays_of(cell):
    """Returns what the forward loop of a cell would read, and its step."""
    params, state, xs = setting(cell)
    form = cell.form
    us = cell.project(params, jnp.moveaxis(xs, 1, 0))
    arrays = steps.Arrays(
        steps.Shared(form.recurrent(params), params),
        steps.Rows(None, state),
        state,
        steps.Ahead(us, None, None),
    )
    return lambda *given: (steps.forward(form, *given), None), arrays


def test_the_input_weights_stay_off_the_chip():
    _, trimmed = steps.trim(*arrays_of(jrnn.LSTM(H)))
    assert trimmed.shared.params == jrnn.cells.LSTMParams(*[None] * 4)
    assert trimmed.shared.recurrent.w is not None
    assert jax.tree.leaves(trimmed.rows) == []
    _, trimmed = steps.trim(*arrays_of(jrnn.GRU(H)))
    used = trimmed.shared.params  # its second bias is under the reset gate
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


CELLS = [
    (jrnn.LSTM(H), "float32", {"reset": True}),
    (jrnn.GRU(H), "bfloat16", {"reverse": True, "lengths": True}),
    (jrnn.Elman(H), "float32", {"lengths": True, "reset": True, "reverse": True}),
    (jrnn.MGU(H), "float32", {"mask": True, "return_sequence": False}),
    (jrnn.PeepholeLSTM(H), "bfloat16", {"reset": True, "return_states": True}),
    (jrnn.LearnedState(jrnn.GRU(H)), "float32", {"reset": True, "lengths": True}),
]


@pytest.mark.parametrize("cell, dtype, how", CELLS)
def test_blocks_need_not_divide_batch_and_time(cell, dtype, how, monkeypatch):
    """37 rows in blocks of 32, 7 steps in blocks of 4; no size is that of a tile."""
    rows, rng = 37, np.random.default_rng(0)
    monkeypatch.setattr(tpu, "fitting", lambda *given: tpu.Blocks(32, 4))
    params = randomise(shapes(cell, F, dtype), 1)
    state = randomise(cell.initial_state(params, (rows,)), 2)
    xs = randomise(np.zeros((rows, T, F), dtype), 3, scale=1.0)
    given = {
        "lengths": jnp.asarray(rng.integers(0, T + 1, rows)),
        "reset": jnp.asarray(rng.random((rows, T)) < 0.3),
        "mask": jnp.asarray(rng.random((rows, T)) < 0.8),
    }
    how = {name: given[name] if name in given else how[name] for name in how}

    @functools.partial(jax.jit, static_argnums=0)
    def both(method, *args):
        def loss(*args):
            result = jrnn.scan(cell, *args, method=method, **how)
            return weighted_sum(jax.tree.map(lambda a: a.astype("float32"), result))

        return jax.value_and_grad(loss, argnums=(0, 1, 2))(*args)

    blocks = jrnn.kernels.Pallas(memory=2**24)  # compiled for no other test
    found, expected = (both(method, params, state, xs) for method in (blocks, "scan"))
    assert_close(found, expected, 1e-5 if dtype == "float32" else 0.05)


def test_gradients_of_biases_are_summed_in_float32(monkeypatch):
    """64 rows of 8 steps in bfloat16, and the scan in float32."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    cell, rows = jrnn.Elman(H), 64
    params = randomise(cell.init(jax.random.key(0), F, "bfloat16"), 1)
    xs = randomise(jnp.zeros((rows, 8, F), "bfloat16"), 3, scale=1.0)

    def gradient(params, xs, method):
        def loss(params):
            ys = jrnn.scan(cell, params, None, xs, method=method)[1]
            return jnp.sum(jnp.sin(ys.astype("float32")))

        return jax.grad(loss)(params).b_x.astype("float32")

    found = gradient(params, xs, "pallas")
    wide = jax.tree.map(lambda a: a.astype("float32"), (params, xs))
    assert_close(found, gradient(*wide, "scan"), 0.01)


def test_second_derivatives_are_those_of_the_scan():
    cell = jrnn.GRU(H)
    params, state, xs = setting(cell)

    def curved(method):
        def loss(xs):
            return weighted_sum(jrnn.scan(cell, params, state, xs, method=method))

        return jax.grad(lambda xs: jnp.sum(jax.grad(loss)(xs) ** 2))(xs)

    assert_close(curved("pallas"), curved("scan"), 1e-5)


def test_weights_that_do_not_fit_are_refused_with_their_bytes():
    """Three gates of 128 units in float32, and the bias of one."""
    cell = jrnn.GRU(128)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), F, "float32"))
    weights = 128 * 3 * 128 * 4 + 8 * 128 * 4  # a vector takes a row of tiles
    small = jrnn.kernels.Pallas(memory=weights)
    with pytest.raises(ValueError, match=rf"{weights} bytes.*may use {weights} bytes"):
        run = jax.jit(
            lambda *args: jrnn.scan(cell, args[0], None, args[1], method=small)
        )
        run.lower(params, jax.ShapeDtypeStruct((B, T, F), jnp.float32))


def test_blocks_have_as_many_rows_as_fit_and_then_as_many_steps():
    """A row is 128 words twice, for the next one is fetched, and once to compute.

    There are two of them in the carry, in and out, and one in each step.
    """
    arrays = steps.Arrays(
        jax.ShapeDtypeStruct((128, 512), jnp.float32),
        None,
        jax.ShapeDtypeStruct((1000, 100), jnp.float32),
        jax.ShapeDtypeStruct((T, 1000, 100), jnp.float32),
    )

    def body(shared, rows, carry, x):
        return carry + x + shared[0, 0], None

    for rows, number in [(512, 1), (256, 2), (64, 4), (32, 4)]:
        memory = 128 * 512 * 4 + (3 * 2 + 2 * number + 1) * rows * 128 * 4
        assert tpu.fitting(body, arrays, memory) == (rows, number)
    assert tpu.fitting(body, arrays, 16 * memory) == (512, 4)


@pytest.mark.parametrize("mapped", ["examples", "weights"])
def test_maps_run_one_kernel_or_one_for_each_of_several_weights(mapped):
    cell = jrnn.GRU(H)
    params, state, xs = setting(cell)
    many = jnp.stack([xs, 2 * xs, -xs])
    weights = jax.tree.map(lambda a: jnp.stack([a, a / 2, -a]), params)
    args = (params, many) if mapped == "examples" else (weights, xs)
    axes = (None, 0) if mapped == "examples" else (0, None)

    @functools.partial(jax.jit, static_argnums=0)
    def slopes(method, *args):
        def loss(params, xs):
            flags = {"reset": jnp.arange(T) % 3 + 0 * jnp.arange(B)[:, None] == 2}
            out = jrnn.scan(cell, params, state, xs, method=method, **flags)
            return weighted_sum(out)

        return jax.vmap(jax.value_and_grad(loss, argnums=(0, 1)), axes)(*args)

    assert_close(slopes("pallas", *args), slopes("scan", *args), 1e-5)
    calls = str(jax.make_jaxpr(slopes, static_argnums=0)("pallas", *args))
    assert ("scan[" in calls) == (mapped == "weights")
