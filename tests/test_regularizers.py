"""Penalties, averaging, chunks of random lengths, and clipping by the past."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.training import (
    activation_penalty,
    add_to_average,
    averaging_starts,
    clip_gradients,
    gradient_flossing,
    per_layer,
    random_chunks,
    start_average,
    temporal_activation_penalty,
    zclip,
)
from jrnn.training.regularizers import chunk_lengths


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_penalties_are_means_over_valid_steps_and_pairs():
    ys = np.random.default_rng(0).normal(size=(2, 7, 3)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 1, 1]], bool)
    poisoned = jnp.where(mask[..., None], ys, jnp.nan)
    rows = [ys[b, t] for b in range(2) for t in range(7) if mask[b, t]]
    jumps = [
        ys[b, t + 1] - ys[b, t]
        for b in range(2)
        for t in range(6)
        if mask[b, t] and mask[b, t + 1]
    ]
    ar, g_ar = jax.value_and_grad(activation_penalty)(poisoned, mask)
    tar, g_tar = jax.value_and_grad(temporal_activation_penalty)(poisoned, mask)
    np.testing.assert_allclose(ar, np.mean(np.square(rows)), rtol=1e-6)
    np.testing.assert_allclose(tar, np.mean(np.square(jumps)), rtol=1e-6)
    assert bool(jnp.isfinite(g_ar).all() & jnp.isfinite(g_tar).all())


def test_penalties_do_not_overflow_in_half_precision():
    ys = jnp.array([[[300.0], [-300.0], [300.0]]], jnp.float16)
    mask = [[True, True, False]]
    assert float(activation_penalty(ys, mask)) == 300**2
    assert float(temporal_activation_penalty(ys, mask)) == 600**2
    with pytest.raises(ValueError, match="mask must have the shape"):
        activation_penalty(ys, [True])


def test_averaging_starts_as_in_the_recipe():
    """The rule of the authors' training loop, on a random course of losses."""
    rng = np.random.default_rng(1)
    course = list(np.exp(-np.arange(40) / 8) + 0.05 * rng.random(40))
    for patience in (1, 3, 5):
        past: list[float] = []
        for loss in course:
            expected = len(past) > patience and loss > min(past[:-patience])
            assert averaging_starts([*past, loss], patience) == expected
            past.append(loss)


@pytest.mark.parametrize("make", [np.array, lambda losses: list(np.float32(losses))])
def test_averaging_starts_takes_the_scores_of_a_history(make):
    losses = make([5.0, 3.0, 3.1, 3.2, 3.3])
    assert averaging_starts(losses, patience=2) is True
    assert averaging_starts(losses, patience=3) is False
    assert averaging_starts(losses, patience=5) is False


def test_an_average_is_the_mean_of_what_was_added():
    values = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
    average = start_average({"w": jnp.asarray(values[0])})
    for row in values[1:]:
        average = add_to_average(average, {"w": jnp.asarray(row)})
    np.testing.assert_allclose(average.mean["w"], values.mean(0), rtol=1e-5)


def test_an_average_in_half_precision_does_not_stand_still():
    half = lambda x: {"w": jnp.full(3, x, jnp.bfloat16), "n": jnp.int32(x)}
    with jax.numpy_dtype_promotion("strict"):
        average = start_average(half(0))
        add = jax.jit(add_to_average)
        for _ in range(599):
            average = add(average, half(1))
    np.testing.assert_allclose(average.mean["w"], 599 / 600, rtol=1e-5)
    assert int(average.mean["n"]) == 1


def test_random_chunks_refuse_what_does_not_fit_when_they_are_asked_for():
    with pytest.raises(ValueError, match="the same 1 batch axes and time"):
        random_chunks((np.ones((2, 50)), np.ones((2, 30))), 20, seed=0)
    with pytest.raises(ValueError, match="the same 1 batch axes and time"):
        random_chunks(np.ones(50), 20, seed=0)
    with pytest.raises(ValueError, match="mean must be at least 1"):
        random_chunks(np.ones((2, 50)), 0, seed=0)
    with pytest.raises(ValueError, match="batch_axes must be at least 0"):
        random_chunks(np.ones((2, 50)), 20, seed=0, batch_axes=-1)


def test_random_chunks_join_to_the_sequence_and_compile_at_most_three_times():
    sequence = np.arange(2 * 3000).reshape(2, 3000)

    @jax.jit
    def consume(chunk):
        return jnp.sum(jnp.where(chunk.mask, chunk.data, 0))

    joined, lengths = [], []
    for chunk in random_chunks(sequence, mean=40, seed=0):
        consume(chunk)
        joined.append(chunk.data[:, chunk.mask[0]])
        lengths.append(int(chunk.mask[0].sum()))
        assert chunk.mask.shape[1] in chunk_lengths(40)
    np.testing.assert_array_equal(np.concatenate(joined, axis=1), sequence)
    assert 2 <= consume._cache_size() <= 3
    assert len(set(lengths)) > 10 and min(lengths[:-1]) >= 5
    again = [int(c.mask[0].sum()) for c in random_chunks(sequence, mean=40, seed=0)]
    other = [int(c.mask[0].sum()) for c in random_chunks(sequence, mean=40, seed=1)]
    assert again == lengths != other


def test_zclip_lets_usual_gradients_pass_and_cuts_a_spike_to_the_formula():
    norms = 1 + 0.1 * np.random.default_rng(3).random(60)
    tx = zclip(warmup=25)
    state = tx.init(None)
    update = jax.jit(tx.update)
    for norm in norms:
        out, state = update(jnp.array([norm, 0.0]), state)
        np.testing.assert_allclose(out[0], norm, rtol=1e-6)
    assert int(state.clipped) == 0
    z = (50 - state.mean) / jnp.sqrt(state.variance)
    allowed = state.mean + 2.5**2 / z * jnp.sqrt(state.variance)
    out, after = update(jnp.array([30.0, 40.0]), state)
    np.testing.assert_allclose(jnp.linalg.norm(out), allowed, rtol=1e-3)
    np.testing.assert_allclose(out[1] / out[0], 4 / 3, rtol=1e-5)
    assert int(after.clipped) == 1 and float(after.norm) == 50
    assert float(after.mean) < 1.2
    out, still = update(jnp.array([jnp.inf, 1.0]), after)
    assert not np.isfinite(out).all()
    assert float(still.mean) == float(after.mean)


def test_options_of_numpy_do_not_widen_what_clips():
    wide, gradient = np.float64, jnp.ones(3, jnp.float32)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        for tx in (
            clip_gradients(wide(1)),
            zclip(wide(0.9), wide(2.0), 1, wide(1e-6)),
        ):
            state = tx.init(gradient)
            update, after = jax.eval_shape(tx.update, gradient, state)
            assert update.dtype == jnp.float32
            assert [a.dtype for a in after] == [a.dtype for a in state]
    with pytest.raises(ValueError, match="epsilon must be at least 0, got -1"):
        zclip(epsilon=-1)


def test_zclip_starts_from_the_mean_and_variance_of_its_warmup():
    norms = np.random.default_rng(4).random(25).astype(np.float32)
    tx = zclip(warmup=25)
    state = tx.init(None)
    for norm in norms:
        _, state = tx.update(jnp.array([norm]), state)
    np.testing.assert_allclose(state.mean, norms.mean(), rtol=1e-5)
    np.testing.assert_allclose(state.variance, norms.var(), rtol=1e-4)


def test_a_layer_that_explodes_does_not_shrink_the_others():
    tx = per_layer(jrnn.training.clip_gradients(1.0))
    gradient = (jnp.array([3e9, 4e9]), jnp.array([0.5]))
    clipped, _ = tx.update(gradient, tx.init(gradient))
    np.testing.assert_allclose(clipped[0], [0.6, 0.8], rtol=1e-6)
    assert float(clipped[1][0]) == 0.5


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_gradient_leaves_parameters_bit_for_bit_and_too_many_stop(bad):
    tx = jrnn.training.optimizer(optax.adam(0.1))
    params = jnp.array([1.0, 2.0])
    state = tx.init(params)
    for number in range(1, 5):
        updates, state = tx.update(jnp.array([1.0, bad]), state, params)
        new = optax.apply_updates(params, updates)
        np.testing.assert_array_equal(new, params)
        assert int(state.skipped) == int(state.in_a_row) == number
        if number <= 3:
            jrnn.training.raise_if_stuck(state, max_in_a_row=3)
    with pytest.raises(jrnn.training.NonFiniteError, match="4 gradients in a row"):
        jrnn.training.raise_if_stuck(state, max_in_a_row=3)
    _, state = tx.update(jnp.array([1.0, 1.0]), state, params)
    assert int(state.in_a_row) == 0 and int(state.skipped) == 4


def test_flossing_brings_the_largest_exponent_to_zero():
    with jax.enable_x64(True):
        cell = jrnn.Elman(3)
        params = cell.init(jax.random.key(0), 2, jnp.float64)
        params = params._replace(w_h=0.4 * params.w_h)
        xs = 0.3 * jax.random.normal(jax.random.key(1), (2, 20, 2))
        penalty = jax.jit(
            jax.value_and_grad(lambda p: gradient_flossing(cell, p, None, xs))
        )
        start, grads = penalty(params)
        direction = jax.tree.map(lambda g: jnp.cos(jnp.arange(g.size) + 1.0), grads)
        direction = jax.tree.map(lambda d, g: d.reshape(g.shape), direction, grads)
        ahead, behind = (
            penalty(jax.tree.map(lambda p, d, e=e: p + e * d, params, direction))[0]
            for e in (1e-5, -1e-5)
        )
        slope = optax.tree_utils.tree_vdot(grads, direction)
        np.testing.assert_allclose((ahead - behind) / 2e-5, slope, rtol=1e-6)
        for _ in range(60):
            value, grads = penalty(params)
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
        assert float(start) > 0.5 and float(value) < 0.02


@pytest.mark.slow
def test_the_recipe_learns_and_compiles_at_most_three_times():
    page = pathlib.Path(__file__).parent.parent / "docs" / "regularizers.md"
    code = re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL).group(1)
    names: dict = {}
    exec(compile(code, page.name, "exec"), names)
    assert names["losses"][-1] < names["losses"][0] - 0.3
    assert names["update"]._cache_size() <= 3
