"""Attention, as a layer and as a cell, against loops in numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.layers import attend_to
from tests.cases import assert_close, randomise, shapes

B, S, T, M = 2, 5, 4, 3
LENGTHS = np.array([5, 3])
MEMORY = randomise(np.zeros((B, S, M)), 7, scale=1.0)
QUERIES = randomise(np.zeros((B, T, 7)), 8, scale=1.0)


def softmax(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("score", ["additive", "dot"])
def test_attention_is_a_weighted_mean_of_the_valid_places(score):
    layer = jrnn.Attention(8, M, hidden_size=4, score=score)
    params = randomise(shapes(layer, 7), 1)
    memory = MEMORY.at[1, 3:].set(jnp.nan)
    bound = attend_to(params, memory, lengths=LENGTHS)
    _, ys = layer.apply(bound, None, QUERIES)
    weights = layer.weights(bound, QUERIES)
    w_q, w_k, v, _ = jax.tree.map(np.asarray, params.attention)
    w, bias, ys, weights = jax.tree.map(np.asarray, (params.w, params.b, ys, weights))
    for b, t in itertools.product(range(B), range(T)):
        values = np.asarray(memory)[b, : LENGTHS[b]]
        q = np.asarray(QUERIES)[b, t] @ w_q
        if score == "additive":
            scores = np.array([v @ np.tanh(q + value @ w_k) for value in values])
        else:
            scores = np.array([q @ (value @ w_k) for value in values]) / np.sqrt(4)
        p = softmax(scores)
        assert_close(weights[b, t], np.pad(p, (0, S - len(p))))
        joined = np.concatenate([np.asarray(QUERIES)[b, t], p @ values])
        assert_close(ys[b, t], np.tanh(joined @ w + bias))

    def loss(params, memory):
        bound = attend_to(params, memory, lengths=LENGTHS)
        return jnp.sum(layer.apply(bound, None, QUERIES)[1] ** 2)

    grad = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, memory)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grad))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grad))
    assert np.all(grad[1][1, 3:] == 0) and np.all(grad[1][1, :3] != 0)


def test_a_memory_without_a_valid_place_is_a_zero_context():
    layer = jrnn.Attention(8, M)
    params = randomise(shapes(layer, 7), 1)

    def loss(params, mask):
        bound = attend_to(params, MEMORY, mask=mask)
        return jnp.sum(layer.apply(bound, None, QUERIES)[1]), layer.weights(
            bound, QUERIES
        )

    mask = jnp.zeros((B, S), bool).at[0].set(True)
    grad, weights = jax.grad(loss, has_aux=True)(params, mask)
    assert np.all(weights[1] == 0) and np.all(weights[0] != 0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grad))


@pytest.mark.parametrize("score", ["additive", "dot"])
def test_a_cell_with_attention_is_a_loop(score):
    cell = jrnn.AttentionCell(jrnn.LSTM(4), M, 5, score)
    params = randomise(shapes(cell, 2), 1)
    xs = randomise(np.zeros((B, T, 2)), 9, scale=1.0)

    def scanned(params, memory):
        bound = attend_to(params, memory, lengths=LENGTHS)
        return jrnn.scan(cell, bound, None, xs, lengths=jnp.array([4, 2]))[1]

    def by_hand(params, memory):
        layer = jrnn.Attention(4, M, 5, score)
        rows = []
        for b in range(B):
            attention = attend_to(params.attention, memory[b, : LENGTHS[b]])
            state, y, out = None, jnp.zeros(4), []
            for t in range([4, 2][b]):
                weights = layer.weights(
                    jrnn.layers.AttentionLayerParams(attention, None, None), y[None]
                )
                context = weights[0] @ memory[b, : LENGTHS[b]]
                x = jnp.concatenate([xs[b, t], context])
                state, y = jrnn.step(cell.cell, params.cell, state, x)
                out.append(jnp.concatenate([y, context]))
            rows.append(jnp.stack(out + [jnp.zeros(4 + M)] * (T - len(out))))
        return jnp.stack(rows)

    assert_close(scanned(params, MEMORY), jax.jit(by_hand)(params, MEMORY))
    grads = [
        jax.jit(jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), argnums=(0, 1)))(
            params, MEMORY
        )
        for f in (scanned, by_hand)
    ]
    assert_close(*grads)
    bound = attend_to(params, MEMORY, lengths=LENGTHS)
    weights = cell.weights(bound, None, scanned(params, MEMORY))
    assert_close(weights.sum(-1), jnp.ones((B, T)))
    context = jnp.einsum("bts,bsm->btm", weights, MEMORY)
    assert_close(context[0], scanned(params, MEMORY)[0, :, 4:])


@pytest.mark.parametrize("flags", ["mask", "reset", "mask, reset"])
def test_weights_are_those_that_made_the_contexts(flags):
    cell = jrnn.AttentionCell(jrnn.GRU(4), M, 5)
    bound = attend_to(randomise(shapes(cell, 2), 1), MEMORY, lengths=LENGTHS)
    xs = randomise(np.zeros((B, T, 2)), 9, scale=1.0)
    mask = jnp.array([[False, True, False, True], [True, False, True, False]])
    reset = jnp.array([[False, False, False, True], [False, False, True, False]])
    how = {"mask": mask, "reset": reset}
    how = {name: flag for name, flag in how.items() if name in flags}
    before, _ = jrnn.scan(cell, bound, None, xs)
    for state in (None, before):
        _, ys = jrnn.scan(cell, bound, state, xs, **how)
        contexts = cell.weights(bound, state, ys, **how) @ MEMORY
        keep = how.get("mask", jnp.ones_like(mask))[..., None]
        assert_close(jnp.where(keep, contexts, 0), ys[..., 4:])
    assert cell.weights(bound, before, ys[:, :0], **no_steps(how)).shape == (B, 0, S)


def no_steps(flags):
    return {name: flag[:, :0] for name, flag in flags.items()}


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_the_last_output_of_a_cell_with_attention_and_noise(make_key):
    cell = jrnn.AttentionCell(jrnn.InputDropout(jrnn.GRU(4), 0.5), M, 5)
    bound = attend_to(randomise(shapes(cell, 2), 1), MEMORY)
    xs, ends = randomise(np.zeros((B, T, 2)), 9), jnp.array([4, 2])
    how = {"key": make_key(1), "lengths": ends}
    _, y = jrnn.scan(cell, bound, None, xs, return_sequence=False, **how)
    _, ys = jrnn.scan(cell, bound, None, xs, **how)
    assert_close(y, ys[jnp.arange(B), ends - 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: jrnn.Attention(4, M).apply(
                attend_to(jrnn.Attention(4, M).init(jax.random.key(0), 7), MEMORY),
                None,
                QUERIES[:1],
            ),
            ValueError,
            r"the memory has the batch shape .* or one \[S, M\] for all",
        ),
        (
            lambda: jrnn.AttentionCell(jrnn.GRU(4), M, 5).weights(
                None, None, jnp.ones((B, T, 4 + M)), mask=jnp.ones(B, bool)
            ),
            ValueError,
            r"mask must be \[\*batch, time\]",
        ),
        (lambda: jrnn.Attention(4, 3, score="cosine"), ValueError, "score must be"),
        (
            lambda: jrnn.Attention(4, M).apply(
                jrnn.Attention(4, M).init(jax.random.key(0), 7), None, QUERIES
            ),
            ValueError,
            "Set the memory first",
        ),
        (lambda: attend_to({"w": jnp.ones(3)}, MEMORY), ValueError, "no attention"),
        (
            lambda: attend_to(
                jrnn.Attention(4, M + 1).init(jax.random.key(0), 7), MEMORY
            ),
            ValueError,
            "values must have 4 features",
        ),
        (
            lambda: attend_to(
                jrnn.Attention(4, M).init(jax.random.key(0), 7), MEMORY, lengths=[9, 1]
            ),
            ValueError,
            "lengths must lie between",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(call, error, message):
    with pytest.raises(error, match=message):
        call()
