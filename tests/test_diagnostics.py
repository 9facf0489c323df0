"""Diagnostics against exact constants, explicit matrices and `jax.grad`."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jrnn
from jrnn import diagnostics
from tests.cases import Case, H, T, assert_close, setting

identity = jrnn.activations.identity


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def elman(w_h, **how):
    """An Elman network with this recurrent matrix that adds its input to the state."""
    w_h = jnp.atleast_2d(jnp.asarray(w_h, float))
    cell = jrnn.Elman(len(w_h), bias=False, **how)
    return cell, jrnn.cells.ElmanParams(jnp.eye(len(w_h)), w_h, None)


def run(function, cell, *args, **how):
    return jax.jit(functools.partial(function, cell, **how))(*args)


class MapState(NamedTuple):
    h: jax.Array


@jrnn.values.value
class Map(jrnn.cells.HiddenCell):
    """A map from R^n to itself as a cell that ignores its input."""

    function: object
    hidden_size: int

    @property
    def form(self):
        return jrnn.forms.Plain(
            lambda params, state, u: MapState(self.function(state.h))
        )

    def init(self, key, input_size, dtype=float):
        return ()

    def initial_state(self, params, batch_shape=()):
        return MapState(jnp.full((*batch_shape, self.hidden_size), 0.1))

    def project(self, params, x, *, key=None):
        return x


def logistic(h):
    return 4 * h * (1 - h)


def henon(h):
    x, y = h[..., 0], h[..., 1]
    return jnp.stack([1 - 1.4 * x**2 + y, 0.3 * x], axis=-1)


def spectrum(cell, params, time, **how):
    xs = jnp.zeros((time, cell.output_size))
    found = run(diagnostics.lyapunov_spectrum, cell, params, None, xs, **how)
    return np.asarray(found.exponents)


def test_lyapunov_of_the_logistic_map_is_log_2():
    (exponent,) = spectrum(Map(logistic, 1), (), 50_000, transient=100)
    assert exponent == pytest.approx(math.log(2), abs=2e-4)


def test_lyapunov_of_the_henon_map():
    first, second = spectrum(Map(henon, 2), (), 50_000, transient=100)
    assert first == pytest.approx(0.4192, abs=3e-3)
    assert second == pytest.approx(-1.6232, abs=3e-3)
    assert first + second == pytest.approx(math.log(0.3), abs=1e-12)


def test_lyapunov_of_a_linear_cell_is_log_of_its_eigenvalues():
    values = np.array([1.3, -0.9, 0.5, 0.2])
    basis = np.random.default_rng(0).standard_normal((4, 4))
    w_h = basis @ np.diag(values) @ np.linalg.inv(basis)
    cell, params = elman(w_h, activation=identity)
    expected = np.log(np.abs(values))
    np.testing.assert_allclose(
        spectrum(cell, params, 400, transient=200), expected, atol=1e-10
    )
    leading = spectrum(cell, params, 400, transient=200, exponents=2)
    np.testing.assert_allclose(leading, expected[:2], atol=1e-10)


@pytest.mark.parametrize("cell", [jrnn.IndRNN(H), jrnn.ParaGRU(H), jrnn.LRU(H, 5)])
def test_structured_cells_are_measured_unit_by_unit(cell):
    params, state, xs = setting(Case(cell, None))
    jacobians = run(diagnostics.state_jacobians, cell, params, state, xs)
    jacobian = jax.jit(lambda x, h: jax.jacrev(dense_step(cell, params, x))(h))
    states = flat_states(cell, params, state, xs, 1)[:-1]
    steps = [jacobian(x, h) for x, h in zip(np.asarray(xs)[1], states, strict=True)]
    assert_close(jacobians[1], np.stack(steps), 1e-12)
    found = run(diagnostics.lyapunov_spectrum, cell, params, state, xs)
    if len(jax.tree.leaves(state)) == 1:
        diagonals = jnp.abs(jnp.diagonal(jacobians, axis1=-2, axis2=-1))
        expected = np.sort(jnp.log(diagonals).mean(axis=-2), axis=-1)[:, ::-1]
    else:
        expected = np.log(np.exp(-np.exp(params.nu))).repeat(2)
        expected = np.broadcast_to(np.sort(expected)[::-1], (2, 2 * H))
    np.testing.assert_allclose(found.exponents, expected, rtol=1e-12)
    np.testing.assert_array_equal(found.running[:, -1], found.exponents)


def flat_states(cell, params, state, xs, row):
    """The states h_0, ..., h_T of one row, each as a vector, by a Python loop."""
    state = jax.tree.map(lambda leaf: leaf[row], state)
    states = [ravel_pytree(state)[0]]
    for x in xs[row]:
        state, _ = jrnn.step(cell, params, state, x)
        states.append(ravel_pytree(state)[0])
    return states


def dense_step(cell, params, x):
    unravel = ravel_pytree(cell.initial_state(params))[1]
    return lambda h: ravel_pytree(jrnn.step(cell, params, unravel(h), x)[0])[0]


def test_the_gradient_product_of_the_b_series():
    cell, params = elman(0.5)
    xs = jnp.array([[1.0], [0.0], [0.0]])
    _, (_, states) = jrnn.scan(cell, params, None, xs, return_states=True)
    expected = [0.7615942, 0.3633995, 0.1797262]
    np.testing.assert_allclose(states.h[:, 0], expected, atol=5e-8)
    product = run(diagnostics.jacobian_product, cell, params, None, xs, t=3, k=1)
    assert float(product[0, 0]) == pytest.approx(0.20997625, abs=5e-9)
    norms = run(diagnostics.jacobian_norms, cell, params, None, xs)
    assert float(norms[3, 1]) == pytest.approx(0.20997625, abs=5e-9)
    flow = run(diagnostics.gradient_by_lag, cell, params, None, xs)
    assert float(flow[2]) == pytest.approx(0.20997625, abs=5e-9)
    with pytest.raises(ValueError, match="0 <= k <= t <= 3"):
        diagnostics.jacobian_product(cell, params, None, xs, t=4)


@pytest.mark.parametrize(("radius", "size"), [(0.9, 5.15e-3), (1.0, 1), (1.1, 117.4)])
def test_normal_matrices_shrink_or_grow_by_their_radius(radius, size):
    orthogonal = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    cell, params = elman(radius * orthogonal, activation=identity)
    xs = jnp.ones((50, 4))
    expected = radius ** np.arange(51.0)
    norms = run(diagnostics.jacobian_norms, cell, params, None, xs)
    np.testing.assert_allclose(norms[:, 0], expected, rtol=1e-12)
    assert float(norms[50, 0]) == pytest.approx(size, rel=1e-3)
    flow = run(diagnostics.gradient_by_lag, cell, params, None, xs)
    np.testing.assert_allclose(flow, 2 * expected, rtol=1e-12)  # ||(1, 1, 1, 1)|| = 2


def test_linear_cells_follow_the_powers_of_their_matrix():
    w_h = 0.6 * np.random.default_rng(0).standard_normal((3, 3))
    cell, params = elman(w_h, activation=identity)
    goal = np.array([1.0, -2.0, 0.5])
    loss = lambda y: y @ goal
    flow = run(
        diagnostics.gradient_by_lag, cell, params, None, jnp.ones((6, 3)), loss=loss
    )
    expected = [
        np.linalg.norm(np.linalg.matrix_power(w_h, lag) @ goal) for lag in range(7)
    ]
    np.testing.assert_allclose(flow, expected, rtol=1e-12)


def test_tiny_and_huge_gradients_keep_their_norm():
    xs = jnp.ones((10, 2), jnp.float32)
    for factor in (1e-3, 1e3):
        cell, params = elman(factor * np.eye(2), activation=identity)
        params = jax.tree.map(lambda a: a.astype(jnp.float32), params)
        flow = run(diagnostics.gradient_by_lag, cell, params, None, xs)
        expected = math.sqrt(2) * factor ** np.arange(11.0)
        np.testing.assert_allclose(flow, expected, rtol=1e-5)


def test_jacobian_norms_are_those_of_the_products():
    cell = jrnn.LSTM(H)
    params, state, xs = setting(Case(cell, None))
    norms = run(diagnostics.jacobian_norms, cell, params, state, xs)
    jacobians = run(diagnostics.state_jacobians, cell, params, state, xs)[0]
    for t, k in [(T, 0), (5, 2), (3, 3), (2, 4)]:
        product = functools.reduce(lambda p, j: j @ p, jacobians[k:t], np.eye(2 * H))
        expected = np.linalg.norm(product, 2) if k <= t else 0.0
        assert float(norms[0, t, k]) == pytest.approx(expected, rel=1e-10)


def test_the_decomposition_of_the_gradient_term_by_term():
    """dL/dW is the sum over k of (dL/dh_T) (dh_T/dh_k) (dh_k/dW)."""
    cell = jrnn.GRU(H)
    params, state, xs = setting(Case(cell, None))
    loss = lambda y: jnp.sum(jnp.sin(y))
    terms = run(diagnostics.gradient_terms, cell, params, state, xs, loss=loss)

    def of_copies(copies, row):  # each step has parameters of its own
        h = jax.tree.map(lambda leaf: leaf[row], state)
        for t in range(T):
            own = jax.tree.map(lambda leaf, t=t: leaf[t], copies)
            h, y = jrnn.step(cell, own, h, xs[row, t])
        return loss(y)

    copies = jax.tree.map(lambda a: jnp.stack([a] * T), params)
    shares_of = jax.jit(jax.grad(of_copies))
    for row in range(2):
        shares = shares_of(copies, row)
        assert_close(jax.tree.map(lambda a, row=row: a[row], terms), shares, 1e-12)

    def whole(params):
        how = {"return_sequence": False}
        return loss(jrnn.scan(cell, params, state, xs, **how)[1])

    sums = jax.tree.map(lambda a: a.sum(axis=(0, 1)), terms)
    assert_close(sums, jax.jit(jax.grad(whole))(params), 1e-12)

    # The notes' formula, factor by factor, for the matrix of the state.
    states = flat_states(cell, params, state, xs, 0)
    output = jax.grad(loss)(states[-1])
    k, product = 3, run(diagnostics.jacobian_product, cell, params, state, xs, k=3)
    step = lambda w: dense_step(cell, params._replace(w_h=w), xs[0, k - 1])
    dh_dw = jax.jacfwd(lambda w: step(w)(states[k - 1]))(params.w_h)
    share = jnp.einsum("i,ij,j...->...", output, product[0], dh_dw)
    assert_close(terms.w_h[0, k - 1], share, 1e-12)


def test_parameters_of_the_output_act_in_the_last_step_alone():
    cell = jrnn.LRU(H, 5)
    params, state, xs = setting(Case(cell, None))
    terms = run(diagnostics.gradient_terms, cell, params, state, xs)
    np.testing.assert_array_equal(terms.c_re[:, :-1], 0)

    def whole(params):
        return jnp.sum(jrnn.scan(cell, params, state, xs)[1][:, -1])

    sums = jax.tree.map(lambda a: a.sum(axis=(0, 1)), terms)
    assert_close(sums, jax.jit(jax.grad(whole))(params), 1e-12)


def test_a_learned_initial_state_acts_in_the_first_step():
    cell = jrnn.LearnedState(jrnn.GRU(H))
    params, _, xs = setting(Case(cell, None))
    terms = run(diagnostics.gradient_terms, cell, params, None, xs)
    np.testing.assert_array_equal(terms.state.h[:, 1:], 0)

    def whole(params):
        return jnp.sum(jrnn.scan(cell, params, None, xs)[1][:, -1])

    sums = jax.tree.map(lambda a: a.sum(axis=(0, 1)), terms)
    assert_close(sums, jax.jit(jax.grad(whole))(params), 1e-12)


def test_horizons():
    slopes = diagnostics.memory_horizon(jnp.array([-0.25, 0.0, 1.0]))
    np.testing.assert_array_equal(slopes, [4.0, np.inf, np.inf])
