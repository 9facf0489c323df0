"""Watching a run: the first number that is not finite, and gradients step by step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import diagnostics, training
from tests.cases import B, Case, H, T, assert_close, setting

CELL = jrnn.LSTM(H)


@functools.partial(jax.jit, static_argnums=0)
def look(cell, params, state, xs, **flags):
    return diagnostics.first_nonfinite(cell, params, state, xs, **flags)


def float32():
    return setting(Case(CELL, None), dtype=jnp.float32)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_a_poisoned_input_is_found():
    params, state, _ = float32()
    xs = jnp.ones((B, 150, 3), jnp.float32).at[1, 137, 2].set(jnp.nan)
    found = look(CELL, params, state, xs, lengths=jnp.array([150, 150]))
    assert found.step.tolist() == [-1, 137]
    sentences = diagnostics.describe(found, CELL, params, xs)
    assert sentences == ["row 1: xs is not finite at step 137"]
    assert look(CELL, params, state, xs, lengths=jnp.array([150, 137])).step[1] == -1


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_lengths_of_8_bits_do_not_wrap_and_lists_are_taken():
    params, state, _ = float32()
    xs = jnp.ones((B, 300, 3), jnp.float32).at[0, 260, 1].set(jnp.nan)  # in the padding
    for lengths in (np.array([100, 200], np.uint8), [100, 200]):
        found = diagnostics.first_nonfinite(CELL, params, state, xs, lengths=lengths)
        assert found.step.tolist() == [-1, -1]
    mask = (np.arange(300) < 261).tolist()
    found = diagnostics.first_nonfinite(CELL, params, state, xs, mask=[mask] * B)
    assert found.step.tolist() == [260, -1]


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_causes_come_before_effects():
    params, state, xs = float32()
    poison = lambda a: a.at[..., -1].set(jnp.inf)
    words = lambda *args: diagnostics.describe(look(CELL, *args), CELL, args[0], xs)
    bad = params._replace(w_h=poison(params.w_h))
    assert words(bad, state, xs)[0] == "row 0: params.w_h is not finite at step 0"
    bad = state._replace(c=state.c.at[0, 0].set(jnp.nan))
    assert words(params, bad, xs) == ["row 0: state.c is not finite at step 0"]
    assert words(params, state, xs) == []


def test_an_overflow_is_found_where_it_happens():
    cell = jrnn.Elman(1, activation=jrnn.activations.identity, bias=False)
    one = jnp.ones((1, 1), jnp.float32)
    params = jrnn.cells.ElmanParams(one, 1e10 * one, None)
    xs = jnp.ones((6, 1), jnp.float32)  # 1, 1e10, 1e20, 1e30, inf
    found = look(cell, params, None, xs)
    sentences = diagnostics.describe(found, cell, params, xs)
    assert sentences == ["states.h is not finite at step 4"]


@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_sequence_without_steps_is_finite(batch):
    params = CELL.init(jax.random.key(0), 3)
    xs = jnp.zeros((*batch, 0, 3))
    found = look(CELL, params, None, xs)
    for place in found:
        np.testing.assert_array_equal(place, np.full(batch, -1))
    assert diagnostics.describe(found, CELL, params, xs) == []


def tapped_gradient(lengths, remat):
    cell = diagnostics.Tapped(CELL, steps=T + 2)
    params, state, xs = setting(Case(CELL, None))

    def tapped_loss(params):
        start = diagnostics.TappedState(state, jnp.zeros(B, jnp.int32))
        _, ys = jrnn.scan(cell, params, start, xs, remat=remat, lengths=lengths)
        return jnp.sum(ys**2)

    def plain(params, noise):  # a shift of every state, whose gradient is that of h_t
        h, total = state, 0.0
        for t in range(T):
            new, _ = jrnn.step(CELL, params, h, xs[:, t])
            new = jax.tree.map(lambda a, b, t=t: a + b[t], new, noise)
            keep = t < lengths
            h = jax.tree.map(lambda a, b, k=keep: jnp.where(k[:, None], a, b), new, h)
            total += jnp.sum(jnp.where(keep[:, None], h.h, 0) ** 2)
        return total

    noise = jax.tree.map(lambda a: jnp.zeros((T, *a.shape)), state)
    tapped = diagnostics.TappedParams(params, jnp.zeros(T + 2))
    return (
        jax.jit(jax.grad(tapped_loss))(tapped),
        jax.jit(jax.grad(plain, argnums=(0, 1)))(params, noise),
    )


def test_a_tap_tells_the_gradient_of_every_state():
    with jax.enable_x64(True):
        found, (gradient, by_state) = tapped_gradient(jnp.array([4, T]), remat="step")
        assert_close(found.cell, gradient, 1e-12)  # it passes unchanged
        squares = sum(jnp.sum(leaf**2, axis=(1, 2)) for leaf in by_state)
        norms = diagnostics.tapped_norms(found.tap)
        np.testing.assert_allclose(norms[:T], jnp.sqrt(squares), rtol=1e-6)
        np.testing.assert_array_equal(norms[T:], 0)


MODEL = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(H)), jrnn.Dense(5))


def chunk_loss(params, state, chunk, key):
    xs, labels = chunk.data
    state, logits = MODEL.apply(params, state, xs, mask=chunk.mask, key=key)
    mean = training.cross_entropy(logits, labels, chunk.mask)
    return mean * jnp.sum(chunk.mask) / (B * T), state


def test_a_folded_loss_has_the_full_gradient():
    with jax.enable_x64(True):
        params = MODEL.init(jax.random.key(0), 3, jnp.float64)
        state = MODEL.initial_state(params, (B,))
        xs = jax.random.normal(jax.random.key(1), (B, T, 3), jnp.float64)
        labels = jax.random.randint(jax.random.key(2), (B, T), 0, 5)

        def whole(params):
            final, logits = MODEL.apply(params, state, xs)
            return training.cross_entropy(logits, labels), final

        folded = training.folded_loss(chunk_loss, loops=(3, 2))
        chunks = training.split_into_chunks(
            (xs, labels), length=2
        )  # 4 chunks: two are idle
        gradient = functools.partial(jax.value_and_grad, has_aux=True)
        actual = jax.jit(gradient(folded))(params, state, chunks)
        assert_close(actual, jax.jit(gradient(whole))(params), 1e-12)


def test_a_folded_loss_stores_no_sequence():
    model = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(64), method="scan"), jrnn.Dense(9))

    def loss(params, state, chunk, key):
        state, ys = model.apply(params, state, chunk.data[0])
        return jnp.sum(training.cross_entropy(ys, chunk.data[1])), state

    def memory(length, loops):
        data = jnp.ones((8, 4096, 16)), jnp.zeros((8, 4096), int)
        chunks = training.split_into_chunks(data, length)
        params = model.init(jax.random.key(0), 16)
        total = training.folded_loss(loss, loops=loops)
        gradient = jax.jit(jax.grad(total, has_aux=True))
        args = params, model.initial_state(params, (8,)), chunks
        return gradient.lower(*args).compile().memory_analysis().temp_size_in_bytes

    assert memory(4096, None) / memory(16, (16, 16)) >= 60
