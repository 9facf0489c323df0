"""The report on whether a cell can be computed for all steps at once is true."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import diagnostics
from jrnn.kernels import Parallel
from tests.test_parallel_newton import difficult


def test_a_predictable_network_converges():
    with jax.enable_x64(True):
        cell, params, xs = difficult(0.5)
        found = diagnostics.parallelizable(cell, params, xs)
        spectrum = diagnostics.lyapunov_spectrum(cell, params, None, xs)
        assert found.exponent == spectrum.exponents[0] < -0.9
        steps = jax.jit(diagnostics.state_jacobians, static_argnums=0)
        jacobians = steps(cell, params, None, xs)
        np.testing.assert_allclose(
            found.norms, np.linalg.norm(jacobians, ord=2, axis=(1, 2)), rtol=1e-9
        )
    assert found.converged and found.iterations in (3, 4, 5)
    assert found.method == "gated" and "on a CPU it is longer" in found.why
    assert f'"parallel" takes {found.iterations} iterations' in found.why


def test_a_chaotic_network_does_not():
    cell, params, xs = difficult(3.0, dtype=jnp.float32)
    xs = 0.3 * xs
    found = diagnostics.parallelizable(cell, params, jnp.stack([xs, -xs]))
    assert found.exponent.shape == (2,) and found.norms.shape == (2, 64)
    assert not found.converged and (found.exponent > 0).any()
    assert "not negative, and the steps of a chaotic" in found.why


def test_a_window_may_help_where_jacobians_are_large_at_first():
    cell, params, xs = difficult(2.0, dtype=jnp.float32)
    few = Parallel(max_iterations=3)
    found = diagnostics.parallelizable(cell, params, xs, method=few)
    assert found.exponent < 0 and not found.converged and found.iterations == 3
    assert "although the largest exponent is" in found.why


def test_a_linear_cell_is_one_recurrence():
    cell = jrnn.LRU(4)
    params = cell.init(jax.random.key(0), 3)
    state = cell.initial_state(params)
    found = diagnostics.parallelizable(cell, params, jnp.ones((9, 3)), state=state)
    assert found.method == "linear" and "linear in the state" in found.why
    assert found.iterations == 1 and found.converged
    radius = jnp.exp(-jnp.exp(params.nu))
    assert found.exponent == pytest.approx(float(jnp.log(radius.max())), rel=1e-4)
