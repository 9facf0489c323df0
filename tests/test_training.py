"""Losses, optimizer chains and truncated backpropagation, against numbers and loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn import training
from tests.cases import B, F, H, T, assert_close, randomise, shapes

MASK = jnp.array([[True, True, False, True], [False, True, True, False]])

# ---------------------------------------------------------------------------- losses


def test_cross_entropy_is_the_mean_over_valid_steps():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((2, 4, 5)), rng.integers(0, 5, (2, 4))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    picked = -np.log(np.take_along_axis(p, labels[..., None], -1)[..., 0])
    actual = training.cross_entropy(jnp.array(logits), jnp.array(labels), MASK)
    np.testing.assert_allclose(actual, picked[np.array(MASK)].mean(), rtol=1e-5)


def test_squared_error_is_summed_within_a_step():
    ys, targets = randomise(np.zeros((2, 4, 3)), 1), randomise(jnp.zeros((2, 4, 3)), 2)
    errors = ((np.array(ys) - np.array(targets)) ** 2).sum(-1)
    actual = training.squared_error(ys, targets, MASK)
    np.testing.assert_allclose(actual, errors[np.array(MASK)].mean(), rtol=1e-5)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("mask", [MASK, jnp.zeros_like(MASK)])
def test_padding_reaches_neither_the_loss_nor_its_gradient(mask):
    logits = jnp.where(mask[..., None], 1.0, jnp.nan) * jnp.arange(5.0)
    labels = jnp.where(mask, 3, 99)
    loss = lambda logits: training.cross_entropy(logits, labels, mask)
    value, slope = jax.value_and_grad(loss)(logits)
    assert np.isfinite(value) and np.all(np.isfinite(slope))
    assert (value == 0) == (not mask.any())
    np.testing.assert_array_equal(slope[~np.array(mask)], 0)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_a_label_out_of_range_is_never_another_label():
    logits, labels = jnp.zeros((1, 2, 4)), jnp.array([[0, 4]])
    with pytest.raises(ValueError, match="contains the id 4 .* but ids must be 0 to 3"):
        training.cross_entropy(logits, labels)
    assert np.isnan(jax.jit(training.cross_entropy)(logits, labels))
    with pytest.raises(ValueError, match="labels must have the shape"):
        training.cross_entropy(logits, labels[:, :1])


# ------------------------------------------------------------------------ optimizers


@pytest.mark.parametrize(
    ("gradient", "clipped"),
    [
        (jnp.array([3.0, 4.0]), [0.6, 0.8]),
        (jnp.array([0.3, 0.4]), [0.3, 0.4]),
        (jnp.full(4, 300, jnp.float16), [0.5] * 4),
        (jnp.array([3e19, 4e19]), [0.6, 0.8]),  # squares overflow
        (jnp.full(4, 3e38), [0.5] * 4),  # so does the norm
    ],
)
def test_clipping_keeps_the_direction_of_a_finite_gradient(gradient, clipped):
    tx = training.clip_gradients(1.0)
    actual, _ = jax.jit(tx.update)(gradient, tx.init(gradient))
    assert actual.dtype == gradient.dtype
    np.testing.assert_allclose(actual.astype(float), clipped, rtol=1e-3)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30])
def test_the_norm_is_accurate_whatever_its_size(scale):
    tree = jax.tree.map(lambda a: a * scale, randomise([jnp.zeros(5), jnp.zeros(3)], 0))
    tree = [*tree, jnp.zeros((0, 2))]
    wide = np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in tree])
    actual = jax.jit(training.gradient_norm)(tree)
    np.testing.assert_allclose(actual, np.linalg.norm(wide), rtol=1e-6)
    for bad in (jnp.nan, jnp.inf):
        assert not np.isfinite(training.gradient_norm([*tree, jnp.array(bad)]))


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_bad_gradient_changes_no_bit_and_is_counted(bad):
    tx = training.optimizer(optax.adam(0.1))
    params = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0])}
    good = jax.tree.map(jnp.ones_like, params)
    step = jax.jit(tx.update)
    updates, state = step(good, tx.init(params), params)
    params = optax.apply_updates(params, updates)
    poisoned = good | {"b": jnp.array([bad])}
    updates, after = step(poisoned, state, params)
    same = optax.apply_updates(params, updates)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    jax.tree.map(np.testing.assert_array_equal, after.inner, state.inner)
    assert (int(after.skipped), int(after.in_a_row)) == (1, 1)
    _, recovered = step(good, after, params)
    assert (int(recovered.skipped), int(recovered.in_a_row)) == (1, 0)


def test_extra_arguments_reach_the_optimizer():
    scaled = optax.GradientTransformationExtraArgs(
        lambda params: (),
        lambda updates, state, params=None, *, by: (updates * by, state),
    )
    for tx in (training.optimizer(scaled), optax.chain(training.optimizer(scaled))):
        updates, _ = tx.update(jnp.array([0.5]), tx.init(None), by=3.0)
        np.testing.assert_array_equal(updates, [1.5])
    plain = training.optimizer(optax.sgd(1.0))
    updates, _ = plain.update(jnp.array([0.5]), plain.init(None), by=3.0)
    np.testing.assert_array_equal(updates, [-0.5])


def test_an_optimizer_must_say_which_optimizer_it_is():
    for rate in (1e-3, optax.constant_schedule(1e-3)):
        with pytest.raises(TypeError, match=r"use for example `optax\.adam\(1e-3\)`"):
            training.optimizer(rate)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_too_many_bad_gradients_in_a_row_stop_the_run():
    tx = training.optimizer(optax.adam(0.1))
    params = jnp.ones(2)
    state = tx.init(params)
    for _ in range(3):
        training.raise_if_stuck(state, max_in_a_row=3)
        _, state = tx.update(params * jnp.nan, state, params)
    training.raise_if_stuck(state, max_in_a_row=3)
    _, state = tx.update(params * jnp.nan, state, params)
    with pytest.raises(training.NonFiniteError, match="4 gradients in a row"):
        training.raise_if_stuck({"nested": (state,)}, max_in_a_row=3)


# --------------------------------------------- truncated backpropagation through time


def linear_loss(w, state, chunk, key, *, last_only):
    """h' = w h + x; the loss is the sum of all h, or the one marked in the data."""
    del key
    xs, weights = chunk.data

    def body(h, step):
        x, weight, valid = step
        new = jnp.where(valid, w * h + x, h)
        return new, jnp.where(valid, new * (weight if last_only else 1.0), 0)

    state, values = jax.lax.scan(body, state, (xs, weights, chunk.mask))
    return jnp.sum(values), state


@pytest.mark.parametrize(
    ("length", "last", "all_steps"),
    [(4, 2.75, 5.75), (9, 2.75, 5.75), (2, 2.5, 5.0), (1, 1.75, 4.25), (3, 1.75, 4.75)],
)
def test_exact_truncated_gradients(length, last, all_steps):
    weights = jnp.array([0.0, 0.0, 0.0, 1.0])
    chunks = training.split_into_chunks((jnp.ones(4), weights), length, batch_axes=0)
    for last_only, gradient, value in ((True, last, 1.875), (False, all_steps, 6.125)):
        loss = functools.partial(linear_loss, last_only=last_only)
        (total, state), slope = training.truncated_value_and_grad(loss)(
            jnp.array(0.5), jnp.array(0.0), chunks
        )
        np.testing.assert_allclose([total, state, slope], [value, 1.875, gradient])


MODEL = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(H)), jrnn.Dense(F))


def model_loss(params, state, chunk, key):
    xs, targets = chunk.data
    state, ys = MODEL.apply(params, state, xs, mask=chunk.mask, key=key)
    valid = jnp.sum(chunk.mask)
    return training.squared_error(ys, targets, chunk.mask) * valid, state


slope_of_model = jax.jit(jax.value_and_grad(model_loss, has_aux=True))


@pytest.mark.parametrize("length", [2, 3, T, T + 4])
def test_chunks_carry_the_state_of_one_long_run(length):
    params = randomise(shapes(MODEL, F), 1)
    xs, targets = randomise((np.zeros((B, T, F), np.float32),) * 2, 2)
    start = MODEL.initial_state(params, (B,))
    value_and_grad = jax.jit(training.truncated_value_and_grad(model_loss))
    (total, state), slope = value_and_grad(
        params, start, training.split_into_chunks((xs, targets), length)
    )
    whole = training.Chunk((xs, targets), jnp.ones((B, T), bool))
    (expected, final), full = slope_of_model(params, start, whole, None)
    assert_close((total, state), (expected, final))
    if length >= T:
        assert_close(slope, full)


def test_updates_after_every_chunk_are_those_of_a_loop():
    params = randomise(shapes(MODEL, F), 1)
    xs, targets = randomise((np.zeros((B, T, F), np.float32),) * 2, 2)
    tx = training.optimizer(optax.sgd(0.1), clip=0.5)
    chunks = training.split_into_chunks((xs, targets), 3)
    start = params, tx.init(params), MODEL.initial_state(params, (B,))
    actual = jax.jit(training.train_on_chunks(model_loss, tx))(*start, chunks)
    params, opt_state, state = start
    losses = []
    for i in range(3):
        piece = jax.tree.map(lambda a, i=i: a[i], chunks)
        (value, state), slope = slope_of_model(params, state, piece, None)
        updates, opt_state = tx.update(slope, opt_state, params)
        params = optax.apply_updates(params, updates)
        losses.append(value)
    assert_close(actual, (params, opt_state, state, jnp.stack(losses)))


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_one_bad_chunk_is_one_skipped_update():
    params = randomise(shapes(MODEL, F), 1)
    xs, targets = randomise((jnp.zeros((B, 20, F)),) * 2, 2)
    tx = training.optimizer(optax.sgd(0.1))
    train = jax.jit(training.train_on_chunks(model_loss, tx))
    chunks = training.split_into_chunks((xs.at[0, 3].set(jnp.nan), targets), 2)
    start = tx.init(params), MODEL.initial_state(params, (B,))
    _, opt_state, state, losses = train(params, *start, chunks)
    assert int(opt_state.skipped) == 1 and training.all_finite(state)
    np.testing.assert_array_equal(np.isfinite(losses), np.arange(10) != 1)


def test_a_first_state_is_data_but_a_reset_is_trained():
    model = jrnn.Recurrent(jrnn.LearnedState(jrnn.Elman(H)))
    params = randomise(shapes(model, F), 1)
    xs = randomise(np.zeros((B, 4, F)), 2)
    first = jnp.zeros((B, 4), bool).at[:, 0].set(True)
    for flags, trained in ((jnp.zeros_like(first), False), (first, True)):

        def loss(params, state, chunk, key):
            xs, reset = chunk.data
            state, ys = model.apply(params, state, xs, reset=reset, key=key)
            return jnp.sum(ys), state

        chunks = training.split_into_chunks((xs, flags), 2)
        start = model.initial_state(params, (B,))
        _, slope = training.truncated_value_and_grad(loss)(params, start, chunks)
        moved = [np.any(leaf) for leaf in jax.tree.leaves(slope.state)]
        assert all(moved) == any(moved) == trained


def test_chunks_compile_once_whatever_the_tail():
    traces = []

    def loss(params, state, chunk, key):
        traces.append(1)
        return model_loss(params, state, chunk, key)

    params = MODEL.init(jax.random.key(0), F)
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    for time in (4, 5, 7):
        xs, targets = randomise((jnp.zeros((B, time, F)),) * 2, 2)
        state = MODEL.initial_state(params, (B,))
        chunks = training.split_into_chunks((xs, targets), 3)
        for i in range(chunks.mask.shape[0]):
            piece = jax.tree.map(lambda a, i=i: a[i], chunks)
            (_, state), _ = step(params, state, piece, None)
    assert len(traces) == 1


def test_rows_of_a_stream_follow_on_from_each_other():
    tokens = np.arange(23)
    inputs, targets = training.stream_to_rows(tokens, batch=4)
    assert inputs.shape == (4, 5)
    np.testing.assert_array_equal(targets, inputs + 1)
    np.testing.assert_array_equal(inputs.ravel(), tokens[:20])
    with pytest.raises(ValueError, match="has 4 entries, too few for 4 rows"):
        training.stream_to_rows(tokens[:4], batch=4)
    with pytest.raises(ValueError, match=r"tokens must have one axis, .* \[9, 2\]"):
        training.stream_to_rows(np.ones((9, 2)), batch=2)


def test_bad_sequences_or_lengths_are_errors():
    with pytest.raises(ValueError, match="length must be at least 1"):
        training.split_into_chunks(jnp.ones((B, T)), 0)
    with pytest.raises(
        ValueError, match="sequences must start with the same 1 batch axes"
    ):
        training.split_into_chunks((jnp.ones((B, T)), jnp.ones((B, T + 1))), 2)
    with pytest.raises(ValueError, match="sequences have no time steps"):
        training.split_into_chunks(jnp.ones((B, 0)), 2)
