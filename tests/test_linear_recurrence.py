"""Linear recurrences: every order of computing one equals the loop that defines it."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import jrnn
from jrnn.values import value
from tests.cases import assert_close, randomise

METHODS = ["scan", "associative", "chunked"]
B, T, N = 2, 11, 3


class Params(NamedTuple):
    w: jax.Array  # [F, 2N] input to coefficients
    start: jax.Array  # [N] state that an episode begins with


class State(NamedTuple):
    h: jax.Array  # [..., N]


@value
class Leaky(jrnn.cells.VectorCell):
    """h' = sigmoid(x Wa) * h + x Wb, beginning at `start`; read y = h * h."""

    size: int = N
    output_size = N

    @property
    def form(self):
        return jrnn.forms.Linear(self.coefficients)

    def init(self, key, input_size, dtype=jnp.float32):
        w = jax.random.normal(key, (input_size, 2 * self.size), dtype)
        return Params(w, jnp.ones(self.size, dtype))

    def initial_state(self, params, batch_shape=()):
        return State(jnp.broadcast_to(params.start, (*batch_shape, self.size)))

    def project(self, params, x, *, key=None):
        return x @ params.w

    def coefficients(self, params, u):
        a, b = jnp.split(u, 2, axis=-1)
        return State(jax.nn.sigmoid(a)), State(b)

    def read(self, params, state, u):
        return state.h**2 + u[..., : self.size]


def setting(dtype="f8", time=T):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape)
    a, b, h0 = draw(B, time, N), draw(B, time, N), draw(B, N)
    if np.issubdtype(dtype, np.complexfloating):
        a, b, h0 = a + 1j * draw(*a.shape), b + 1j * draw(*b.shape), h0 + 1j * h0**2
    return tuple(leaf.astype(dtype) for leaf in (a, b, h0))


def loop(a, b, h0, reset=None, reverse=False):
    """The definition, in Python: works for numpy and for traced arrays."""
    hs, h = [None] * a.shape[1], h0
    for t in range(a.shape[1])[:: -1 if reverse else 1]:
        cut = t + 1 if reverse else t
        if reset is not None and cut < a.shape[1]:
            h = jnp.where(reset[:, cut, None], 0, h)
        h = a[:, t] * h + b[:, t]
        hs[t] = h
    return jnp.stack(hs, axis=1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype, reverse", [("f8", False), ("c16", True)])
def test_values_and_gradients_are_those_of_the_loop(method, dtype, reverse):
    with jax.enable_x64(True):
        args = setting(dtype)
        reset = jnp.asarray(np.random.default_rng(1).random((B, T)) < 0.3)
        how = {"reset": reset, "reverse": reverse}

        def loss(run, args):
            return jnp.sum(jnp.abs(run(*args, **how) - 0.3) ** 2)

        run = functools.partial(jrnn.linear_recurrence, method=method)
        actual = jax.jit(jax.value_and_grad(functools.partial(loss, run)))(args)
        expected = jax.jit(jax.value_and_grad(functools.partial(loss, loop)))(args)
        assert_close(actual, expected, 1e-12)
        assert all(np.any(np.abs(leaf) > 1e-3) for leaf in actual[1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("time", [0, 1, 2, 5])
def test_short_sequences_work(method, time):
    a, b, h0 = setting(np.float32, time)
    hs = jrnn.linear_recurrence(a, b, h0, method=method)
    assert hs.shape == (B, time, N)
    if time:
        assert_close(hs, loop(a, b, h0))


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_of_second_order_work_in_both_modes(method):
    with jax.enable_x64(True):
        args = setting(time=4)
        tangents = jax.tree.map(np.cos, args)

        def second(run):
            loss = lambda args: jnp.sum(jnp.sin(run(*args)))
            along = lambda args: jax.jvp(loss, (args,), (tangents,))[1]
            return jax.jvp(jax.grad(loss), (args,), (tangents,)), jax.grad(along)(args)

        run = functools.partial(jrnn.linear_recurrence, method=method)
        actual = jax.jit(lambda: second(run))()
        assert_close(actual, jax.jit(lambda: second(loop))(), 1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_reset_cuts_off_what_is_not_finite(method, bad):
    a, b, h0 = setting(np.float32)
    b[0, 2], h0[1] = bad, bad
    reset = jnp.zeros((B, T), bool).at[0, 5].set(True).at[1, 0].set(True)

    def last(a, b, h0):
        how = {"reset": reset, "method": method}
        hs = jrnn.linear_recurrence(a, b, h0, **how)
        return jnp.sum(jnp.sin(hs[:, 6:])), hs

    grad = jax.jit(jax.value_and_grad(last, (0, 1, 2), has_aux=True))
    (_, hs), slopes = grad(a, b, h0)
    assert not np.isfinite(hs[0, 2:5]).any()
    assert_close(hs[0, 5:], loop(a, b, h0, reset)[0, 5:])
    assert np.isfinite(hs[1]).all()
    assert np.isfinite(slopes[0][0, 5:]).all() and np.isfinite(slopes[0][1]).all()
    assert all(np.isfinite(leaf).all() for leaf in slopes[1:])


def test_a_restart_of_a_cell_cuts_off_what_is_not_finite():
    cell = Leaky()
    params = cell.init(jax.random.key(0), 5)
    xs = randomise(jnp.zeros((B, T, 5)), 3).at[0, 2].set(jnp.inf)
    mask = jnp.ones((B, T), bool).at[:, 4].set(False)
    reset = jnp.zeros((B, T), bool).at[:, 4:6].set(True)
    how = {"mask": mask, "reset": reset, "return_states": True}
    run = lambda method: jrnn.scan(cell, params, None, xs, method=method, **how)
    _, (ys, states) = run("linear")
    assert np.isfinite(states.h[:, 5:]).all() and np.isnan(states.h[0, 3]).any()
    assert_close((states.h[:, 5:], ys[:, 5:]), (run("scan")[1][1].h[:, 5:], ys[:, 5:]))


def test_it_maps_over_rows():
    args = setting(np.float32)
    rows = jax.jit(jax.vmap(jrnn.linear_recurrence))
    assert_close(rows(*args), loop(*args))


@pytest.mark.parametrize("method", METHODS)
def test_no_accuracy_is_lost_over_long_sequences(method):
    rng = np.random.default_rng(2)
    a = rng.uniform(0.5, 0.95, (4096, 1))
    b = rng.standard_normal((4096, 1))
    h, expected = np.zeros(1), []
    for factor, addend in zip(a, b, strict=True):
        h = factor * h + addend
        expected.append(h)
    run = jax.jit(functools.partial(jrnn.linear_recurrence, method=method))
    actual = run(a.astype("f4"), b.astype("f4"))
    assert np.max(np.abs(actual - np.array(expected))) < 5e-6


@pytest.mark.parametrize("kind", ["Auto", "Explicit", "shard_map"])
def test_it_runs_on_a_mesh(kind):
    args = setting(np.float32)
    grad = lambda a, b, h0: jax.grad(
        lambda a: jnp.sum(jnp.sin(jrnn.linear_recurrence(a, b, h0)))
    )(a)
    expected = jax.jit(grad)(*args)
    types = jax.sharding.AxisType
    axis = types.Explicit if kind == "Explicit" else types.Auto
    mesh = jax.make_mesh((2,), ("data",), axis_types=(axis,))
    spec = PartitionSpec("data")
    run = grad
    if kind == "shard_map":
        run = jax.shard_map(grad, mesh=mesh, in_specs=(spec,) * 3, out_specs=spec)
    with jax.set_mesh(mesh):
        split = jax.device_put(args, NamedSharding(mesh, spec))
        actual = jax.jit(run)(*split)
    assert_close(jax.device_get(actual), jax.device_get(expected))
    assert len(actual.sharding.device_set) == 2


def test_auto_takes_the_kernel_where_it_pays():
    def traced(cell, **how):
        params = cell.init(jax.random.key(0), 5)
        run = functools.partial(jrnn.scan, cell, params, None, **how)
        return str(jax.make_jaxpr(run)(jnp.ones((B, T, 5))))

    assert "custom_linear_solve" in traced(Leaky())
    assert "custom_linear_solve" not in traced(Leaky(), return_sequence=False)
    assert "custom_linear_solve" not in traced(Leaky(), remat="step")
    assert "custom_linear_solve" not in traced(jrnn.LRU(3))


def test_what_cannot_be_run_is_refused():
    cell = jrnn.GRU(4)
    params = cell.init(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="`jrnn.forms.Linear`, but GRU"):
        jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)), method="linear")
    with pytest.raises(ValueError, match=r"b must have shape \[2, 5, 3\]"):
        jrnn.linear_recurrence(jnp.ones((2, 5, 3)), jnp.ones((2, 5, 4)))
    with pytest.raises(ValueError, match=r"h0 must have shape \[2, 3\]"):
        jrnn.linear_recurrence(*[jnp.ones((2, 5, 3))] * 2, jnp.ones((3,)))
    with pytest.raises(ValueError, match="method must be one of"):
        jrnn.linear_recurrence(*[jnp.ones((2, 5, 3))] * 2, method="fast")
