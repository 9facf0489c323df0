"""Dropout inside of cells, and the cut of the recurrent gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import activations
from jrnn.testing import weighted_sum
from tests.cases import B, F, H, T, assert_close, randomise, shapes

KEY = jax.random.key(3)
RATE = 0.25


# Outputs the input that it sees.
COPY = jrnn.Elman(F, activation=activations.identity, bias=False)
COPY_PARAMS = jrnn.cells.ElmanParams(jnp.eye(F), jnp.zeros((F, F)), None)


def seen(xs, locked, key=KEY, **options):
    """Returns what the cell inside gets: 0, or x / (1 - rate)."""
    cell = jrnn.InputDropout(COPY, RATE, locked=locked)
    return jrnn.scan(cell, COPY_PARAMS, None, xs, key=key, **options)[1]


@pytest.mark.parametrize("batch", [(), (50,), (2, 25)])
@pytest.mark.parametrize("method", ["scan", "gated"])
def test_a_locked_mask_holds_for_a_sequence_and_differs_between_rows(batch, method):
    xs = jnp.ones((*batch, 9, F))
    ys = seen(xs, True, method=method).reshape(-1, 9, F)
    assert set(np.unique(ys)) <= {0.0, ys.dtype.type(1 / (1 - RATE))}
    np.testing.assert_array_equal(ys, np.repeat(ys[:, :1], 9, axis=1))
    if batch:
        assert 0.1 < float((ys == 0).mean()) < 0.4
        assert len(np.unique(ys[:, 0], axis=0)) > 4  # of 8


def test_a_mask_for_each_step_differs_from_step_to_step():
    ys = np.asarray(seen(jnp.ones((20, 30, F)), False))
    assert abs(float((ys == 0).mean()) - RATE) < 0.05
    assert np.std((ys == 0).mean(axis=(0, 2))) > 0 and np.std(ys, axis=1).min() > 0
    assert abs(float(ys.mean()) - 1) < 0.06  # nothing changes on average


@pytest.mark.parametrize("locked", [False, True])
def test_masks_do_not_depend_on_layout_direction_or_transformation(locked):
    xs = randomise(np.zeros((B, T, F)), 1)
    ys = seen(xs, locked)
    major = seen(jnp.swapaxes(xs, 0, 1), locked, time_major=True)
    assert_close(jnp.swapaxes(major, 0, 1), ys)
    assert_close(jax.jit(functools.partial(seen, locked=locked))(xs), ys)
    raw = seen(xs, locked, key=jax.random.PRNGKey(3))
    assert_close(raw, seen(xs, locked, key=jax.random.wrap_key_data(_data(3))))
    if locked:  # keys of steps are numbered in the order of time in both directions
        assert_close(seen(xs, True, reverse=True), ys)


def _data(seed):
    return jax.random.key_data(jax.random.key(seed))


@pytest.mark.parametrize("batch", [(), (B,), (2, B)])
def test_layer_normalization_goes_around_a_locked_mask(batch):
    """The mask has axes of the batch, which the bias of the cell does not have."""
    cell = jrnn.LayerNormed(jrnn.LSTM(H))
    params = randomise(shapes(cell, F), 1)
    xs = randomise(np.zeros((*batch, T, F)), 2)
    dropped = jrnn.LayerNormed(jrnn.InputDropout(jrnn.LSTM(H), RATE, locked=True))
    expected = jrnn.scan(cell, params, None, seen(xs, True))
    with jax.numpy_rank_promotion("raise"):
        assert_close(jrnn.scan(dropped, params, None, xs, key=KEY), expected)


def test_layer_normalization_goes_around_a_locked_mask_of_images():
    inner = jrnn.ConvLSTM(H, (3, 3), (4, 5))
    cell = jrnn.LayerNormed(inner)
    params = randomise(shapes(cell, F), 1)
    xs = randomise(np.zeros((B, 3, 4, 5, F)), 2)
    ones = jrnn.LayerNormed(jrnn.InputDropout(inner, 0.0, locked=True))
    expected = jrnn.scan(cell, params, None, xs)
    assert_close(jrnn.scan(ones, params, None, xs, key=KEY), expected)


def test_without_a_key_nothing_is_dropped():
    xs = randomise(np.zeros((B, T, F)), 1)
    for locked in (False, True):
        assert_close(seen(xs, locked, key=None), xs)
    cell = jrnn.RecurrentDropout(jrnn.GRU(H), 0.5)
    params = cell.init(KEY, F)
    expected = jrnn.scan(cell.cell, params, None, xs)
    assert_close(jrnn.scan(cell, params, None, xs), expected)


@pytest.mark.parametrize("inner", [jrnn.LSTM(H), jrnn.GRU(H)], ids=str)
@pytest.mark.parametrize("method", ["scan", "gated", "pallas"])
def test_recurrent_dropout_masks_only_what_the_matmul_reads(inner, method):
    cell = jrnn.RecurrentDropout(inner, 0.5)
    params = randomise(shapes(cell, F), 1)
    state = randomise(cell.initial_state(params, (B,)), 2)
    xs = randomise(np.zeros((B, T, F)), 3)
    # The scan splits its key into that of `prepare` and those of the steps.
    prepared = cell.prepare(params, key=jax.random.split(KEY)[0], batch_shape=(B,))
    assert set(np.unique(prepared.mask)) == {0.0, 2.0}
    assert prepared.mask.shape == (B, H)
    assert not np.array_equal(prepared.mask[0], prepared.mask[1])

    def by_hand(params, state):
        ys = []
        for t in range(T):
            u = inner.project(params, xs[:, t])
            v = (state.h * prepared.mask) @ params.w_h
            form = inner.form
            state = form.update(params, state, form.combine(params, u, v))
            ys.append(state.h)
        return state, jnp.stack(ys, axis=1)

    def run(params, state):
        return jrnn.scan(cell, params, state, xs, key=KEY, method=method)

    def with_slope(f):
        slope = jax.grad(lambda *args: weighted_sum(f(*args)), (0, 1))
        return jax.jit(lambda *args: (f(*args), slope(*args)))(params, state)

    assert_close(with_slope(run), with_slope(by_hand), 1e-5)


@pytest.mark.parametrize("inner", [jrnn.LSTM(H), jrnn.GRU(H)], ids=str)
@pytest.mark.parametrize("method", ["scan", "gated"])
def test_the_cut_stops_the_gradient_of_the_state_but_not_of_its_weights(inner, method):
    cell = jrnn.CutRecurrentGradient(inner)
    params = randomise(shapes(cell, F), 1)
    state = randomise(cell.initial_state(params, (B,)), 2)
    xs = randomise(np.zeros((B, T, F)), 3)

    def by_hand(params, state, xs):
        ys = []
        for t in range(T):
            u = inner.project(params, xs[:, t])
            v = jax.lax.stop_gradient(state.h) @ params.w_h
            form = inner.form
            state = form.update(params, state, form.combine(params, u, v))
            ys.append(state.h)
        return state, jnp.stack(ys, axis=1)

    run = functools.partial(jrnn.scan, cell, method=method)
    plain = functools.partial(jrnn.scan, inner, method=method)
    args = params, state, xs
    assert_close(run(*args), plain(*args))
    slopes = [
        jax.jit(jax.grad(lambda *a, f=f: weighted_sum(f(*a)), (0, 1, 2)))(*args)
        for f in (run, by_hand, plain)
    ]
    assert_close(slopes[0], slopes[1], 1e-5)
    assert float(jnp.abs(slopes[0][0].w_h - slopes[2][0].w_h).max()) > 1e-3
    along = randomise(args, 4)
    tangents = lambda f: jax.jit(functools.partial(jax.jvp, f))(args, along)
    assert_close(tangents(run), tangents(by_hand), 1e-5)


@pytest.mark.parametrize(
    "wrap",
    [lambda cell: jrnn.RecurrentDropout(cell, 0.5), jrnn.CutRecurrentGradient],
)
def test_a_cell_without_a_recurrent_matmul_is_refused(wrap):
    with pytest.raises(TypeError, match="forms.Gated"):
        wrap(jrnn.LRU(4))
    with pytest.raises(ValueError, match="probability"):
        jrnn.RecurrentDropout(jrnn.GRU(4), 1.0)
    with pytest.raises(ValueError, match="probability"):
        jrnn.InputDropout(jrnn.GRU(4), -0.1)
