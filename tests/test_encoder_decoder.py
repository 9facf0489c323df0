"""Encoder-decoders and beam search, against loops and exhaustive search."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cases import assert_close, randomise, shapes

B, T, M, V = 2, 4, 3, 6
SOURCE = jnp.array([[1, 2, 3, 4, 5], [5, 4, 3, 0, 0]])
LENGTHS = np.array([5, 3])
TARGET = jnp.array([[1, 2, 3, 5], [4, 1, 0, 2]])


def model(decoder, bridge, encoder=None):
    encoder = encoder or jrnn.Recurrent(jrnn.GRU(M))
    return jrnn.EncoderDecoder(
        jrnn.Sequential(jrnn.Embed(6, 2), encoder),
        jrnn.Sequential(jrnn.Embed(V, 3), *decoder, jrnn.Dense(V)),
        start=2,
        bridge=bridge,
    )


LUONG = (jrnn.Recurrent(jrnn.LSTM(3)), jrnn.Attention(4, 2 * M, score="dot"))
BAHDANAU = (jrnn.Recurrent(jrnn.AttentionCell(jrnn.GRU(3), 2 * M, 4)),)
BOTH = jrnn.Bidirectional(jrnn.GRU(M))
MODELS = {
    "copy": model((jrnn.Recurrent(jrnn.GRU(M)),), "copy"),
    "dense": model((jrnn.Recurrent(jrnn.LSTM(4)),), "dense"),
    "luong": model(LUONG, None, BOTH),
    "bahdanau": model(BAHDANAU, "dense", BOTH),
}


def value_and_grad(function, params):
    """Returns outputs, and the gradient of a scalar that depends on each of them."""

    def loss(params):
        ys = function(params)
        return jnp.sum(jnp.sin(ys)), ys

    grad, ys = jax.jit(jax.grad(loss, has_aux=True))(params)
    return ys, grad


def test_a_target_of_another_batch_is_refused():
    model = MODELS["copy"]
    with pytest.raises(ValueError, match="state.h must have shape"):
        model.apply(drawn(model), SOURCE, jnp.ones((B + 1, T), int))


def drawn(model):
    return randomise(shapes(model), 1, scale=1.0)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_teacher_forcing_equals_one_step_at_a_time(model):
    params = drawn(model)

    def at_once(params):
        return model.apply(params, SOURCE, TARGET, lengths=LENGTHS)

    def by_hand(params):
        rows = []
        for b in range(B):
            decoder, state = model.encode(params, SOURCE[b : b + 1, : LENGTHS[b]])
            token, out = jnp.full((1, 1), 2), []
            for t in range(T):
                state, logits = model.decoder.apply(decoder, state, token)
                out.append(logits[0, 0])
                token = TARGET[b : b + 1, t : t + 1]
            rows.append(jnp.stack(out))
        return jnp.stack(rows)

    both = [value_and_grad(f, params) for f in (at_once, by_hand)]
    assert_close(*both)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(both[0][1]))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_free_running_reads_what_greedy_decoding_writes(model):
    params = drawn(model)
    logits = model.apply(params, SOURCE, TARGET, lengths=LENGTHS, teacher_forcing=0.0)
    ids = model.generate(params, SOURCE, T, lengths=LENGTHS)
    np.testing.assert_array_equal(jnp.argmax(logits, -1), ids)
    forced = model.apply(params, SOURCE, ids, lengths=LENGTHS)
    assert_close(forced, logits)
    one = model.beam_search(params, SOURCE, T, lengths=LENGTHS, beams=1)
    np.testing.assert_array_equal(one.tokens[:, 0], ids)


def test_a_decoder_without_a_state_decodes():
    model = jrnn.EncoderDecoder(
        jrnn.Sequential(jrnn.Embed(6, 2), BOTH),
        jrnn.Sequential(jrnn.Embed(V, 3), jrnn.Attention(4, 2 * M), jrnn.Dense(V)),
        bridge=None,
    )
    params = drawn(model)
    ids = model.generate(params, SOURCE, T, lengths=LENGTHS)
    found = model.beam_search(params, SOURCE, T, lengths=LENGTHS, beams=1)
    np.testing.assert_array_equal(found.tokens[:, 0], ids)
    forced = model.apply(params, SOURCE, ids, lengths=LENGTHS)
    np.testing.assert_array_equal(jnp.argmax(forced, -1), ids)


def test_scheduled_sampling_mixes_targets_and_samples():
    model, key = MODELS["copy"], jax.random.key(3)
    params = drawn(model)
    many = jnp.tile(SOURCE[:1], (400, 1)), jnp.tile(TARGET[:1], (400, 1))

    def second(teacher_forcing):
        logits = model.apply(
            params, *many, teacher_forcing=jnp.float32(teacher_forcing), key=key
        )
        return np.asarray(logits[:, 1])

    always = second(1.0)
    assert_close(always, jnp.broadcast_to(always[0], always.shape))
    half = second(0.5)
    agree = np.mean(np.all(np.isclose(half, always, atol=1e-5), axis=-1))
    own = jax.nn.softmax(model.apply(params, *many)[0, 0])[TARGET[0, 0]]
    assert abs(agree - (0.5 + 0.5 * float(own))) < 0.1


@pytest.mark.parametrize("penalty", [0.0, 1.5])
@pytest.mark.parametrize("end", [None, 1])
def test_enough_beams_find_the_best_of_all_sequences(end, penalty):
    model, steps, size = MODELS["luong"], 3, 4
    decoder = model.decoder.layers[:-1] + (jrnn.Dense(size),)
    model = jrnn.EncoderDecoder(model.encoder, jrnn.Sequential(*decoder), 2, None)
    params = drawn(model)

    every = list(itertools.product(range(size), repeat=steps))
    target = np.array(every)

    def score_all(row):
        """Returns the score of every sequence, up to its end."""
        source = np.repeat(SOURCE[row : row + 1, : LENGTHS[row]], len(every), axis=0)
        gains = np.asarray(jax.nn.log_softmax(model.apply(params, source, target)))
        gains = np.take_along_axis(gains, target[..., None], axis=-1)[..., 0]
        scores = {}
        for tokens, gain in zip(every, gains, strict=True):
            cut = tokens.index(end) + 1 if end in tokens else steps
            scores[tokens[:cut]] = gain[:cut].sum() / ((5 + cut) / 6) ** penalty
        return scores

    found = model.beam_search(
        params,
        SOURCE,
        steps,
        lengths=LENGTHS,
        beams=size**steps,
        end=end,
        length_penalty=penalty,
    )
    for row in range(B):
        scores = score_all(row)
        best = sorted(scores, key=lambda tokens, s=scores: -s[tokens])
        kept = [
            tuple(tokens[:length].tolist())
            for tokens, length, total in zip(
                found.tokens[row], found.lengths[row], found.scores[row], strict=True
            )
            if total > -np.inf
        ]
        assert kept[0] == best[0]
        assert sorted(kept) == sorted(best)
        np.testing.assert_allclose(
            found.scores[row][: len(best)], [scores[t] for t in kept], atol=1e-5
        )
        if end is not None:
            first = found.tokens[row][0]
            assert np.all(first[found.lengths[row][0] :] == end)


def test_a_length_penalty_may_be_traced():
    model = MODELS["copy"]
    params = drawn(model)

    def search(penalty):
        return model.beam_search(params, SOURCE, 3, end=1, length_penalty=penalty)

    assert_close(jax.jit(search)(0.6), search(0.6))


def test_few_beams_keep_the_best_at_every_step():
    model = MODELS["bahdanau"]
    params = drawn(model)
    decoder, state = model.encode(params, SOURCE[:1])
    alive = [((), 0.0, state, jnp.array([[2]]))]
    for _ in range(T):
        grown = []
        for tokens, total, state, last in alive:
            after, logits = model.decoder.apply(decoder, state, last)
            gains = np.asarray(jax.nn.log_softmax(logits[0, 0]))
            for token in range(V):
                word = jnp.array([[token]])
                grown.append(((*tokens, token), total + gains[token], after, word))
        alive = sorted(grown, key=lambda beam: -beam[1])[:3]
    found = model.beam_search(params, SOURCE[:1], T, beams=3)
    assert [tuple(row) for row in found.tokens[0].tolist()] == [b[0] for b in alive]
    np.testing.assert_allclose(found.scores[0], [b[1] for b in alive], atol=1e-5)


def test_a_bridge_makes_a_generator_conditional():
    layer = jrnn.Sequential(jrnn.Embed(V, 2), jrnn.Recurrent(jrnn.LSTM(3)))
    params = drawn(layer)
    bridge = jrnn.Bridge(layer)
    weights = randomise(bridge.init(jax.random.key(1), 4, params), 2)
    x = randomise(np.zeros((B, 4)), 3)
    state = bridge.apply(weights, params, x)
    for leaf, w, b in zip(jax.tree.leaves(state), *weights, strict=True):
        assert_close(leaf, jnp.tanh(x @ w + b))
    assert state[1].h.shape == (B, 3)
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), weights)
    half = bridge.apply(low, params, x.astype(jnp.bfloat16))
    assert half[1].h.dtype == params[1].w_h.dtype  # as the layer's own first state


def test_tied_weights_are_one_table():
    tied = jrnn.Tied(jrnn.Embed(V, 4), jrnn.Recurrent(jrnn.GRU(4)))
    params = drawn(tied)

    def by_hand(params):
        table = params.embed.table
        _, ys = jrnn.scan(jrnn.GRU(4), params.body, None, table[TARGET])
        return ys @ table.T + params.b

    def applied(params):
        return tied.apply(params, None, TARGET)[1]

    assert_close(*[value_and_grad(f, params) for f in (applied, by_hand)])


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: model((), "mean"), ValueError, "bridge must be one of"),
        (
            lambda: model((jrnn.Recurrent(jrnn.GRU(M)),), "dense", jrnn.Dense(3)).init(
                jax.random.key(0)
            ),
            ValueError,
            "needs an encoder with a state",
        ),
        (
            lambda: MODELS["copy"].apply(
                drawn(MODELS["copy"]), SOURCE, TARGET, teacher_forcing=1.5
            ),
            ValueError,
            r"teacher_forcing must be in \[0, 1\]",
        ),
        (
            lambda: model((jrnn.Recurrent(jrnn.GRU(9)),), "copy").apply(
                drawn(model((jrnn.Recurrent(jrnn.GRU(9)),), "copy")), SOURCE, TARGET
            ),
            ValueError,
            "Use bridge='dense'",
        ),
        (
            lambda: jrnn.Tied(jrnn.Embed(5, 4), jrnn.Dense(3)).init(jax.random.key(0)),
            ValueError,
            "must be equal",
        ),
        (lambda: jrnn.Tied(jrnn.GRU(3), jrnn.Dense(3)), TypeError, "jrnn.Embed"),
        (
            lambda: MODELS["copy"].beam_search(
                drawn(MODELS["copy"]), SOURCE, 3, beams=0
            ),
            ValueError,
            "beams must be at least 1",
        ),
        (
            lambda: MODELS["copy"].beam_search(
                drawn(MODELS["copy"]), SOURCE, 3, length_penalty=float("nan")
            ),
            ValueError,
            "length_penalty must be finite, got nan",
        ),
        (
            lambda: MODELS["copy"].beam_search(
                jax.tree.map(lambda a: a * jnp.nan, drawn(MODELS["copy"])), SOURCE, 3
            ),
            ValueError,
            "logits of the model are NaN",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(call, error, message):
    with pytest.raises(error, match=message):
        call()
