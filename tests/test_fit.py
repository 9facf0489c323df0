"""The training loop for notebooks is a plain loop of updates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.training import fit
from tests.cases import assert_close, randomise, shapes

CELL = jrnn.GRU(3)
PARAMS = randomise(shapes(CELL, 2), 1)
BATCHES = [randomise(np.zeros((2, 4, 2)), seed, scale=1.0) for seed in range(12)]
TX = jrnn.training.optimizer(optax.adam(0.03))
KEY = jax.random.key(5)


def loss(params, batch, key):
    noise = 0.0 if key is None else jax.random.normal(key)
    return jnp.mean((jrnn.scan(CELL, params, None, batch)[1] - 0.5 - 0.1 * noise) ** 2)


def run(data=BATCHES, **options):
    return fit(loss, PARAMS, iter(data), TX, progress=False, **options)


@pytest.mark.parametrize("key", [None, KEY])
def test_it_equals_a_plain_loop(key):
    @jax.jit
    def update(params, state, batch, key):
        value, grad = jax.value_and_grad(loss)(params, batch, key)
        updates, state = TX.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        return params, state, value, optax.global_norm(grad)

    params, state, losses, norms = PARAMS, TX.init(PARAMS), [], []
    for number, batch in enumerate(BATCHES[:9], 1):
        now = None if key is None else jax.random.fold_in(key, number)
        params, state, value, norm = update(params, state, batch, now)
        losses.append(value)
        norms.append(norm)
    result = run(steps=9, key=key)
    assert_close(result.params, params)
    assert_close(result.opt_state, state)
    np.testing.assert_allclose(result.history.loss, losses, rtol=1e-5)
    np.testing.assert_allclose(result.history.gradient_norm, norms, rtol=1e-5)
    assert len(run().history.loss) == len(BATCHES)


def test_it_returns_the_best_parameters_and_stops_early():
    seen, scores = [], iter([3.0, np.nan, 1.0, 2.0, 1.5, 0.0])

    def evaluate(params):
        seen.append(params)
        return next(scores)

    result = run(evaluate=evaluate, every=2, patience=2)
    assert result.history.evaluated.tolist() == [2, 4, 6, 8, 10]
    np.testing.assert_array_equal(result.history.scores, [3.0, np.nan, 1.0, 2.0, 1.5])
    assert_close(result.params, seen[2])
    assert len(result.history.loss) == 10


def test_there_is_an_evaluation_after_the_last_update():
    result = run(evaluate=lambda params: 1.0, every=5)
    assert result.history.evaluated.tolist() == [5, 10, 12]


def test_the_last_parameters_are_returned_where_no_score_is_finite():
    result = run(evaluate=lambda params: np.nan, every=5)
    assert_close(result.params, run().params)


def test_an_interrupt_returns_what_was_learned():
    def data():
        yield from BATCHES[:3]
        raise KeyboardInterrupt

    expected = run(BATCHES[:3])
    assert_close(run(data()).params, expected.params)


def test_an_interrupt_before_the_first_update_is_raised():
    def stopped(params, batch, key):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stopped, PARAMS, BATCHES, TX, progress=False)


def test_a_bar_shows_the_numbers(capsys):
    pytest.importorskip("tqdm")
    fit(loss, PARAMS, BATCHES, TX, every=4, steps=8, evaluate=lambda params: 0.25)
    shown = capsys.readouterr().err
    assert "8/8" in shown and "score=0.25" in shown


@pytest.mark.without("jax_debug_nans", reason="the batches are NaN")
def test_it_stops_where_nothing_is_finite():
    with pytest.raises(jrnn.training.NonFiniteError, match="in a row"):
        run([BATCHES[0] * jnp.nan] * 12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: run([]), "contains no batch"),
        (lambda: run(steps=0), "steps"),
        (lambda: run(every=0), "every"),
        (lambda: run(patience=0), "patience"),
        (lambda: run(patience=2), "patience needs evaluate"),
    ],
)
def test_what_does_not_fit_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "take",
    [
        lambda tx: fit(loss, PARAMS, BATCHES, tx),
        jrnn.training.optimizer,
        jrnn.training.skip_nonfinite,
        jrnn.training.per_layer,
        lambda tx: jrnn.training.train_on_chunks(None, tx),
        lambda tx: jrnn.training.train_along(
            jrnn.GRU(4), None, tx, jrnn.training.TBPTT(2)
        ),
    ],
)
def test_a_learning_rate_is_no_optimizer(take):
    with pytest.raises(TypeError, match=r"tx must be an optax optimizer, got 0.1"):
        take(0.1)
