"""Generation against a loop that applies the model to the whole text at every step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.layers import generation, sample
from tests.cases import assert_close, randomise, shapes

V, STEPS = 6, 5
MODEL = jrnn.Sequential(jrnn.Embed(V, 3), jrnn.Recurrent(jrnn.GRU(4)), jrnn.Dense(V))
PARAMS = randomise(shapes(MODEL), 1, scale=1.5)
PRIME = jnp.array([[1, 2, 0], [4, 3, 5]])


def test_greedy_is_the_likeliest_symbol_at_every_step():
    text = jnp.pad(PRIME, ((0, 0), (0, STEPS)))
    apply = jax.jit(lambda ids: MODEL.apply(PARAMS, None, ids)[1])
    for t in range(3, 3 + STEPS):
        text = text.at[:, t].set(jnp.argmax(apply(text)[:, t - 1], -1))
    state, ids = jrnn.generate(MODEL, PARAMS, None, PRIME, STEPS)
    np.testing.assert_array_equal(ids, text[:, 3:])
    expected, _ = MODEL.apply(PARAMS, None, text[:, :-1])
    assert_close(state, expected)
    cold = jrnn.generate(
        MODEL, PARAMS, None, PRIME, STEPS, key=jax.random.key(1), temperature=0
    )
    np.testing.assert_array_equal(cold[1], ids)


def test_a_generation_can_go_on_from_its_state():
    state, head = jrnn.generate(MODEL, PARAMS, None, PRIME, 2)
    _, tail = jrnn.generate(MODEL, PARAMS, state, head[:, -1:], STEPS - 2)
    _, whole = jrnn.generate(MODEL, PARAMS, None, PRIME, STEPS)
    np.testing.assert_array_equal(jnp.concatenate([head, tail], 1), whole)


def test_after_the_end_symbol_comes_nothing_else_and_the_state_rests():
    _, free = jrnn.generate(MODEL, PARAMS, None, PRIME, STEPS)
    end = int(free[0, 1])
    state, ids = jrnn.generate(MODEL, PARAMS, None, PRIME, STEPS, end=end)
    for b in range(2):
        stop = next((t for t in range(STEPS) if free[b, t] == end), STEPS)
        np.testing.assert_array_equal(ids[b, : stop + 1], free[b, : stop + 1])
        np.testing.assert_array_equal(ids[b, stop:], [end] * (STEPS - stop))
    text = jnp.concatenate([PRIME[:1], free[:1, :1]], axis=1)
    expected, _ = MODEL.apply(PARAMS, None, text)
    first = jax.tree.map(lambda a: a[:1], state)
    if end != int(free[0, 0]):
        assert_close(first, expected)


def test_primes_of_several_lengths():
    padded = PRIME.at[0, 2].set(5)
    _, ids = jrnn.generate(MODEL, PARAMS, None, padded, 4, lengths=jnp.array([2, 3]))
    _, first = jrnn.generate(MODEL, PARAMS, None, PRIME[:1, :2], 4)
    _, second = jrnn.generate(MODEL, PARAMS, None, PRIME[1:], 4)
    np.testing.assert_array_equal(ids, jnp.concatenate([first, second]))


@pytest.mark.parametrize(
    ("cuts", "kept"),
    [
        ({}, [0, 1, 2, 3]),
        ({"top_k": 2}, [1, 3]),
        ({"top_k": 9}, [0, 1, 2, 3]),
        ({"top_p": 0.6}, [1, 3]),
        ({"top_p": 1e-6}, [1]),
        ({"top_k": 3, "top_p": 0.7}, [1, 3]),
        ({"temperature": 0.5}, [0, 1, 2, 3]),
    ],
)
def test_samples_follow_the_cut_distribution(cuts, kept):
    p = np.array([0.1, 0.5, 0.05, 0.35])
    draws = sample(jax.random.key(0), jnp.broadcast_to(jnp.log(p), (40000, 4)), **cuts)
    q = np.where(np.isin(np.arange(4), kept), p ** (1 / cuts.get("temperature", 1)), 0)
    counts = np.bincount(draws, minlength=4) / 40000
    np.testing.assert_allclose(counts, q / q.sum(), atol=0.012)
    assert np.all(counts[q == 0] == 0)


def test_another_temperature_does_not_compile_again():
    from jrnn.layers.generation import _generate  # noqa: PLC0415  counts its cache

    options = {"key": jax.random.key(0), "top_k": 3}
    jrnn.generate(MODEL, PARAMS, None, PRIME, 3, temperature=0.9, **options)
    before = _generate._cache_size()
    jrnn.generate(MODEL, PARAMS, None, PRIME, 3, temperature=0.3, **options)
    assert _generate._cache_size() == before


def test_a_temperature_may_be_traced():
    def ids(temperature):
        key = jax.random.key(0)
        return jrnn.generate(
            MODEL, PARAMS, None, PRIME, STEPS, key=key, temperature=temperature
        )[1]

    np.testing.assert_array_equal(jax.jit(ids)(0.7), ids(0.7))
    with pytest.raises(TypeError, match="temperature must be a number"):
        jax.jit(ids)(jnp.ones(2))


def test_cuts_and_lengths_may_be_traced_and_the_end_may_not():
    def ids(options):
        key = jax.random.key(0)
        return jrnn.generate(MODEL, PARAMS, None, PRIME, STEPS, key=key, **options)[1]

    options = {"top_k": 3, "top_p": 0.9, "lengths": jnp.array([2, 3])}
    np.testing.assert_array_equal(jax.jit(ids)(options), ids(options))
    with pytest.raises(TypeError, match="end must be an integer"):
        jax.jit(ids)({"end": 1})


def test_another_end_does_not_compile_again():
    jrnn.generate(MODEL, PARAMS, None, PRIME, 3, end=1)
    before = generation._generate._cache_size()
    jrnn.generate(MODEL, PARAMS, None, PRIME, 3, end=2)
    assert generation._generate._cache_size() == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prime": PRIME[:, :0]}, ValueError, "at least one id per row"),
        ({"prime": jnp.ones((2, 3))}, TypeError, "integer ids"),
        pytest.param(
            {"prime": PRIME.at[0, 1].set(V)},
            ValueError,
            "id that is out of range",
            marks=pytest.mark.without("jax_debug_nans", reason="it makes NaN"),
        ),
        ({"lengths": jnp.array([0, 2])}, ValueError, "between 1 and the 3"),
        ({"temperature": -1.0}, ValueError, "temperature"),
        ({"temperature": None}, TypeError, "temperature must be a number"),
        ({"top_k": 0}, ValueError, "top_k"),
        ({"top_p": 0.0}, ValueError, "top_p"),
        ({"steps": -1}, ValueError, "steps"),
    ],
)
def test_says_what_is_wrong(change, error, message):
    options = {"prime": PRIME, "steps": 3, "key": jax.random.key(0)} | change
    with pytest.raises(error, match=message):
        jrnn.generate(MODEL, PARAMS, None, **options)


def test_no_steps():
    state, ids = jrnn.generate(MODEL, PARAMS, None, PRIME, 0)
    assert ids.shape == (2, 0)
    assert_close(state, MODEL.apply(PARAMS, None, PRIME)[0])


def test_what_only_init_reads_compiles_nothing_anew():
    def ids(**options):
        layers = jrnn.Embed(7, 4), jrnn.Recurrent(jrnn.GRU(5, **options)), jrnn.Dense(7)
        model = jrnn.Sequential(*layers)
        params = model.init(jax.random.key(0))
        jrnn.generate(model, params, None, jnp.array([[1, 2]]), 2)
        return generation._generate._cache_size()

    assert ids() == ids(scheme="torch")


def test_no_token_is_sampled_from_a_seed():
    with pytest.raises(TypeError, match="key must be a key of JAX"):
        jrnn.layers.sample(7, [0.0, 9.0, 1.0])


@pytest.mark.parametrize(
    "cut", [{"temperature": 0.0}, {"top_k": 0}, {"top_k": 1.5}, {"top_p": 0.0}]
)
def test_a_sample_refuses_cuts_that_leave_nothing(cut):
    (name,) = cut
    with pytest.raises(ValueError if cut[name] == 0 else TypeError, match=name):
        jrnn.layers.sample(jax.random.key(0), [0.0, 9.0, 1.0], **cut)
