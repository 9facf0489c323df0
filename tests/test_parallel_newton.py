"""Newton's method of the parallel kernel: certificates, fallbacks, exact prefixes."""

import functools
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from experiments import parallel as measured
from jrnn.kernels import Parallel
from jrnn.kernels.parallel import newton
from jrnn.kernels.parallel.frames import frame
from jrnn.kernels.recurrence.places import Whole
from tests import oracles, oracles_diagonal
from tests.cases import H, assert_close
from tests.test_parallel import DENSE, DIAGONAL, Pairs, setting


def difficult(gain, time=64, dtype=jnp.float64):
    """An Elman network with a gain of its recurrent weights; chaotic for 3."""
    cell = jrnn.Elman(8)
    params = cell.init(jax.random.key(0), 8, dtype)
    params = params._replace(w_h=gain * params.w_h)  # orthogonal
    return cell, params, jax.random.normal(jax.random.key(1), (time, 8), dtype)


@pytest.mark.parametrize("window", [None, 16])
def test_what_does_not_converge_is_computed_step_by_step(window):
    with jax.enable_x64(True):
        cell, params, xs = difficult(3.0)
        method = Parallel(max_iterations=3, window=window)
        info = jrnn.parallel_info(cell, params, None, xs, method=method)
        assert not info.converged.any() and (info.iterations == 3).all()
        assert (info.residual > 1e-3).all()

        def both(method):
            loss = lambda p: jnp.sum(
                jrnn.scan(cell, p, None, xs, method=method)[1] ** 2
            )
            return jax.jit(jax.value_and_grad(loss))(params)

        assert_close(both(method), both("scan"), 1e-9)


def test_a_certificate_is_true():
    """The error is at most the residual over one minus the largest |J|."""
    with jax.enable_x64(True):
        cell, params, xs = difficult(0.5, 128)
        exact = jrnn.scan(cell, params, None, xs, method="scan")[1]
        for tolerance in (1e-2, 1e-5, 1e-10):
            method = Parallel(tolerance)
            info = jrnn.parallel_info(cell, params, None, xs, method=method)
            assert info.converged.all() and (info.residual <= tolerance).all()
            _, ys = jrnn.scan(cell, params, None, xs, method=method)
            assert jnp.max(jnp.abs(ys - exact)) <= 10 * tolerance / (1 - 0.5)
        assert int(info.iterations[0]) in (3, 4, 5)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_what_is_not_finite_is_that_of_the_scan():
    cell = jrnn.ParaGRU(H)
    params, state, xs = setting(cell, 9, jnp.float32)
    xs = xs.at[0, 4, 1].set(jnp.nan)
    run = lambda method: jrnn.scan(cell, params, state, xs, method=method)[1]
    np.testing.assert_array_equal(run("parallel"), run("scan"))
    info = jrnn.parallel_info(cell, params, state, xs)
    assert not info.converged[0] and np.isnan(info.residual[0])


def count_in_numpy(oracle, cell, params, xs, most=50):
    """Returns the iterations to an error of 1e-10, of Newton's method in numpy."""
    params, xs = jax.tree.map(np.asarray, (params, xs))
    like = cell.initial_state(params)
    step = lambda h, x: oracle(cell, params, like._replace(h=h), x)[1]
    zero = np.zeros(cell.hidden_size)
    exact = np.array(list(itertools.accumulate(xs, step, initial=zero)))[1:]
    start = h = step(np.zeros_like(exact), xs)
    for number in range(most):
        if np.max(np.abs(h - exact)) <= 1e-10:
            return number
        before = np.concatenate([zero[None], h[:-1]])
        after, tiny = step(before, xs), 1e-30
        columns = [step(before + 1j * tiny * one, xs).imag for one in np.eye(zero.size)]
        moved = itertools.accumulate(
            zip(np.stack(columns, -1) / tiny, before, after, strict=True),
            lambda state, now: now[2] + now[0] @ (state - now[1]),
            initial=zero,
        )
        h = np.array(list(moved)[1:])
        h = np.where(np.isfinite(h) & (np.abs(h) < 1e8), h, start)
    return most


@pytest.mark.parametrize(
    ("name", "oracle", "counts"),
    [
        ("GRU", oracles.gru, (4, 4, 5, 5)),
        ("Elman", oracles.elman, (3, 5, 8, 28)),
        ("ParaGRU", oracles_diagonal.paragru, (4, 4, 10, 20)),
    ],
)
def test_iterations_are_as_many_as_other_programs_need(name, oracle, counts):
    """The counts are of one network for each gain, of unknown weights."""
    cell, gains = measured.CELLS[name], measured.GAINS[:4]
    with jax.enable_x64(True):
        params, xs = measured.networks(cell, gains, 4)
        found = np.asarray(measured.count(cell, params, xs)).reshape(4, 4)
        for row, expected in zip(found, counts, strict=True):
            assert min(row) - 1 <= expected <= max(row) + 1, (row, expected)
        assert np.ptp(found[:2], axis=1).max() <= 3  # where all are predictable
        for gain, number in enumerate(found[:, 0]):
            one = jax.tree.map(lambda a, at=4 * gain: a[at], (params, xs))
            assert abs(number - count_in_numpy(oracle, cell, *one)) <= 1, gain


@functools.partial(jax.jit, static_argnums=(0, 1))
def iterates(cell, number, seed, gain, spread):
    """Returns the guesses after 1, 2, ... iterations, and the states of 12 steps.

    The recurrent weights and the first guess are random.
    """
    keys = jax.random.split(jax.random.key(seed), 2)
    params, state, xs = setting(cell, 12)
    draw = functools.partial(jax.random.normal, dtype=jnp.float64)
    params = params._replace(w_h=gain * draw(keys[0], params.w_h.shape))
    us = cell.project(params, jnp.moveaxis(xs, 1, 0))
    planes = frame(cell.structure, state, 1)
    system = newton.System(cell, planes, False, "associative", Whole())
    steps = newton.Steps(params, state, state, us, None, None)
    start = newton.finite(
        tuple(spread * draw(keys[1], (12, *leaf.shape)) for leaf in planes.pack(state))
    )

    def body(h, _):
        point = newton.evaluate(system, steps, h, 0)
        h = newton.finite(newton.update(system, steps, point), start)
        return h, h

    def step(state, u):
        state = cell.step(params, state, u)
        return state, state

    _, states = jax.lax.scan(step, state, us)
    return jax.lax.scan(body, start, None, length=number)[1], planes.pack(states)


@hypothesis.settings(max_examples=24, deadline=None, derandomize=True)
@hypothesis.given(
    cell=st.sampled_from([DIAGONAL, Pairs(), DENSE]),
    seed=st.integers(0, 2**16),
    gain=st.floats(0.1, 4),
    spread=st.sampled_from([1.0, 1e3, 1e30, np.nan]),
)
def test_after_k_iterations_the_first_k_states_are_exact(cell, seed, gain, spread):
    with jax.enable_x64(True):
        found, exact = jax.device_get(iterates(cell, 10, seed, gain, spread))
        for leaf, states in zip(found, exact, strict=True):
            for k in range(1, 11):
                np.testing.assert_allclose(leaf[k - 1, :k], states[:k], atol=1e-10)
