"""Claims of the cells that are linear in the state, and of xLSTM, beside the laws."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import testing
from jrnn.cells import s5

B, T, F, H = 2, 7, 3, 4


def setting(cell: Any, dtype: Any = jnp.float64) -> Any:
    """Returns parameters and inputs [B, T, F] with no zero entry."""
    params = testing.randomize(cell.init(jax.random.key(0), F), 1, dtype)
    return params, testing.randomize(jnp.zeros((B, T, F)), 2, dtype, scale=1.0)


def convolved(params: Any, xs: jax.Array) -> jax.Array:
    """A QRNN as in the paper, over inputs [T, F]: a convolution, then pooling."""
    window = len(params.w_x)
    padded = jnp.concatenate([jnp.zeros((window - 1, xs.shape[1])), xs])
    shifted = [
        padded[window - 1 - k :][: len(xs)] @ params.w_x[k] for k in range(window)
    ]
    z, f, o = jnp.split(sum(shifted) + params.b_x, 3, axis=-1)
    z, f, o = jnp.tanh(z), jax.nn.sigmoid(f), jax.nn.sigmoid(o)
    c, ys = jnp.zeros(z.shape[1]), []
    for t in range(len(xs)):
        c = f[t] * c + (1 - f[t]) * z[t]
        ys.append(o[t] * c)
    return jnp.stack(ys)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_window_of_qrnn_ends_at_padding_and_resets(reverse: bool) -> None:
    with jax.enable_x64(True):
        cell = jrnn.QRNN(H, window=3)
        params, xs = setting(cell)
        lengths = np.array([T, 5])
        reset = np.zeros((B, T), bool)
        reset[0, 3] = reset[1, 2] = True
        segments = [[(0, 3), (3, T)], [(0, 2), (2, 5)]]
        order = slice(None, None, -1 if reverse else 1)

        def expected(params: Any, xs: jax.Array) -> jax.Array:
            rows = []
            for row, pieces in zip(xs, segments, strict=True):
                ys = [convolved(params, row[a:b][order])[order] for a, b in pieces]
                padding = jnp.zeros((T - pieces[-1][1], H))
                rows.append(jnp.concatenate([*ys, padding]))
            return jnp.stack(rows)

        def actual(params: Any, xs: jax.Array) -> jax.Array:
            options: Any = {"lengths": lengths, "reset": reset, "reverse": reverse}
            return jrnn.scan(cell, params, None, xs, **options)[1]

        def both(run: Any) -> Any:
            loss = lambda *arguments: jnp.sum(jnp.sin(run(*arguments)))
            return jax.jit(run)(params, xs), jax.jit(jax.grad(loss, (0, 1)))(params, xs)

        testing.assert_close(both(actual), both(expected), 1e-10)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_the_stabilizer_of_mlstm_cancels() -> None:
    stable = jrnn.MLSTM(H, heads=2, epsilon=0.0)
    linear = jrnn.MLSTM(H, heads=2, epsilon=0.0, stabilized=False)
    with jax.enable_x64(True):
        params, xs = setting(stable)

        def both(cell: Any, method: str) -> Any:
            def loss(params: Any, xs: jax.Array) -> Any:
                ys = jrnn.scan(cell, params, None, xs, method=method)[1]
                return jnp.sum(jnp.sin(ys)), ys

            return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, xs)

        testing.assert_close(both(stable, "scan"), both(linear, "linear"), 1e-10)

        # An input gate of exp(200) is out of range in float32.
        params = params._replace(b_if=params.b_if.at[:2].set(200.0))
        expected = jrnn.scan(linear, params, None, xs)[1]
        narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, xs))
        actual = jrnn.scan(stable, narrow[0], None, narrow[1])[1]
        assert actual.dtype == jnp.float32
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5)
        assert not np.isfinite(jrnn.scan(linear, narrow[0], None, narrow[1])[1]).all()


def test_the_radius_of_rglru_is_drawn_from_a_ring() -> None:
    params = jrnn.RGLRU(4000, heads=1000).init(jax.random.key(0), 4000)
    square = np.exp(-2 * np.logaddexp(np.asarray(params.decay, np.float64), 0))
    low, high = 0.9**2, 0.999**2
    assert low - 1e-5 <= square.min() and square.max() <= high + 1e-5
    quantiles = np.quantile(square, [0.25, 0.5, 0.75])
    expected = low + (high - low) * np.array([0.25, 0.5, 0.75])
    np.testing.assert_allclose(quantiles, expected, atol=0.008)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_s5_starts_at_the_normal_part_of_hippo(size: int) -> None:
    n = np.arange(2 * size)
    root = np.sqrt(2 * n + 1)
    hippo = -np.tril(np.outer(root, root), -1) - np.diag(n + 1)  # LegS
    normal = hippo + np.outer(root, root) / 2  # plus the term of low rank
    eigenvalues, v = s5.hippo(size)
    assert (eigenvalues.imag > 0).all()
    np.testing.assert_allclose(normal @ v, v * eigenvalues, atol=1e-10)
    np.testing.assert_allclose(v.conj().T @ v, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(v.T @ v, 0, atol=1e-12)  # of each pair only one


def test_s5_draws_its_matrices_by_fan_in_and_log_uniform_steps() -> None:
    cell = jrnn.S5(64, features=F, blocks=4)
    params = cell.init(jax.random.key(0), F)
    eigenvalues, _ = s5.hippo(16)
    actual = -np.exp(params.log_decay) + 1j * params.frequency
    np.testing.assert_allclose(actual, np.tile(eigenvalues, 4), rtol=1e-4)
    low, high = np.log(1e-3), np.log(1e-1)
    quantiles = np.quantile(params.log_step, [0.0, 0.5, 1.0])
    np.testing.assert_allclose(quantiles, [low, (low + high) / 2, high], atol=0.5)
    # The basis of HiPPO is orthonormal, so draws keep their variance in it.
    for re, im, variance in [
        (params.b_re, params.b_im, 1 / F),
        (params.c_re, params.c_im, 1 / 64),
    ]:
        np.testing.assert_allclose(np.mean(re**2 + im**2), variance, rtol=0.25)


@pytest.mark.parametrize("cell", [jrnn.SLSTM(12, heads=3), jrnn.MLSTM(12, heads=3)])
def test_forget_biases_of_xlstm_run_from_three_to_six(cell: Any) -> None:
    params = cell.init(jax.random.key(0), F)
    bias = params.b_x if isinstance(cell, jrnn.SLSTM) else params.b_if
    blocks = np.split(bias, 4 if isinstance(cell, jrnn.SLSTM) else 2)
    np.testing.assert_allclose(blocks[1], np.linspace(3, 6, len(blocks[1])))
    assert not np.concatenate([blocks[0], *blocks[2:]]).any()


@pytest.mark.parametrize("closed", [-200.0, 200.0])
def test_the_stabilizer_of_slstm_starts_at_the_first_input_gate(closed: float) -> None:
    """It cancels out of h', so gates out of float32's range give finite outputs."""
    cell = jrnn.SLSTM(H, heads=2)
    params, xs = setting(cell, jnp.float32)
    params = params._replace(b_x=params.b_x.at[:H].add(closed))
    _, ys = jrnn.scan(cell, params, None, xs)
    z, o = np.split(np.asarray(xs[:, 0] @ params.w_x + params.b_x), 4, axis=-1)[2:]
    first = np.tanh(z) / (1 + np.exp(-o))  # c / n of one step is tanh(z)
    np.testing.assert_allclose(ys[:, 0], first, rtol=1e-5)
    assert np.isfinite(ys).all()


@pytest.mark.parametrize("low", [0.5, 0.95])
def test_the_linear_domain_is_exact_where_log_space_is_not(low: float) -> None:
    steps = 16_384
    random = np.random.default_rng(0)
    z = random.uniform(0, 1 - low, (steps, F)).astype(np.float32)
    n = random.uniform(0.1, 1.0, (steps, F)).astype(np.float32)
    a, b = 1 - z, z * n
    h, exact = np.zeros(F), []
    for t in range(steps):
        h = a[t].astype(np.float64) * h + b[t].astype(np.float64)
        exact.append(h)
    ys = jrnn.linear_recurrence(jnp.asarray(a)[None], jnp.asarray(b)[None])[0]
    np.testing.assert_allclose(ys, exact, rtol=1e-6)
    sums = np.cumsum(np.log(a), axis=0, dtype=np.float32)
    terms = np.log(b, dtype=np.float32) - sums
    logs = sums + np.logaddexp.accumulate(terms, axis=0, dtype=np.float32)
    assert np.max(np.abs(np.exp(logs) - exact)) > 1e-4
