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

METHODS = ["scan", "associative", "chunk", "pallas"]  # interpreted
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

    def init(self, key, input_size, dtype=float):
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


def setting(kind="real", time=T):
    """Returns a, b and h0 in double precision: real, complex, or blocks of k."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape)
    a, b, h0 = draw(B, time, N), draw(B, time, N), draw(B, N)
    if kind == "complex":
        return a + 1j * draw(*a.shape), b + 1j * draw(*b.shape), h0 + 1j * h0**2
    if kind != "real":
        a, b, h0 = (
            draw(B, time, N, kind, kind),
            draw(B, time, N, kind),
            draw(B, N, kind),
        )
    return a, b, h0


def as_single(a):
    return a.astype("c8" if np.iscomplexobj(a) else "f4")


def single(time=T):
    return tuple(map(as_single, setting(time=time)))


def loop(a, b, h0, reset=None, reverse=False, mask=None):
    """The definition, in Python: works for numpy and for traced arrays."""
    hs, h = [None] * b.shape[1], h0
    flags = lambda flag: flag.reshape(B, *(1,) * (h0.ndim - 1))
    pending = jnp.zeros(B, bool)  # in reverse, a reset waits for the next valid step
    for t in range(b.shape[1])[:: -1 if reverse else 1]:
        keep = jnp.ones(B, bool) if mask is None else mask[:, t]
        cut = reset[:, t] if reset is not None and not reverse else pending
        seen = jnp.where(flags(cut & keep), 0, h)
        moved = (
            jnp.einsum("...ij,...j", a[:, t], seen)
            if a.ndim > b.ndim
            else a[:, t] * seen
        )
        h = jnp.where(flags(keep), moved + b[:, t], h)
        if reset is not None and reverse:
            pending = jnp.where(keep, reset[:, t], pending)
        hs[t] = h
    return jnp.stack(hs, axis=1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["real", "complex", 2, 5])
def test_values_and_gradients_are_those_of_the_loop(method, kind):
    if (method, kind) == ("pallas", 5):
        pytest.skip("no kernel holds such blocks")
    single = method == "pallas"  # the kernel computes in float32
    run = functools.partial(jrnn.linear_recurrence, method=method)
    with jax.enable_x64(not single):
        actual = with_gradients(run, kind, single)
        assert_close(actual, by_loop(kind, single), 1e-5 if single else 1e-12)
        assert all(np.any(np.abs(leaf) > 1e-3) for leaf in actual[1])


def with_gradients(run, kind, single):
    """Returns a loss and the states, and the gradients of the loss."""
    args = jax.tree.map(lambda a: as_single(a) if single else a, setting(kind))
    rng = np.random.default_rng(1)
    how = {
        "reverse": kind in ("complex", 2),
        "reset": jnp.asarray(rng.random((B, T)) < 0.4),
    }
    how["mask"] = jnp.asarray(rng.random((B, T)) < 0.7) if kind != "real" else None

    def loss(args):
        hs = run(*args, **how)
        return jnp.sum(jnp.abs(hs - 0.3) ** 2), hs

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(args)


@functools.cache
def by_loop(kind, single):
    return with_gradients(loop, kind, single)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("time", [0, 1, 2, 5])
def test_short_sequences_work(method, time):
    a, b, h0 = single(time)
    hs = jrnn.linear_recurrence(a, b, h0, method=method)
    assert hs.shape == (B, time, N)
    if time:
        assert_close(hs, loop(a, b, h0))


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_of_second_order_work_in_both_modes(method):
    with jax.enable_x64(method != "pallas"):
        args = single(4) if method == "pallas" else setting(time=4)
        tangents = jax.tree.map(np.cos, args)

        def second(run):
            loss = lambda args: jnp.sum(jnp.sin(run(*args)))
            along = lambda args: jax.jvp(loss, (args,), (tangents,))[1]
            return jax.jvp(jax.grad(loss), (args,), (tangents,)), jax.grad(along)(args)

        run = functools.partial(jrnn.linear_recurrence, method=method)
        actual = jax.jit(lambda: second(run))()
        tolerance = 1e-5 if method == "pallas" else 1e-12
        assert_close(actual, jax.jit(lambda: second(loop))(), tolerance)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_reset_cuts_off_what_is_not_finite(method, bad):
    a, b, h0 = single()
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


@pytest.mark.without("jax_debug_nans", reason="the state is not finite")
def test_a_restart_of_a_cell_cuts_off_what_is_not_finite():
    cell = Leaky()
    params = cell.init(jax.random.key(0), 5)
    xs = randomise(np.zeros((B, T, 5)), 3).at[0, 2].set(jnp.inf)
    mask = jnp.ones((B, T), bool).at[:, 4].set(False)
    reset = jnp.zeros((B, T), bool).at[:, 4:6].set(True)
    how = {"mask": mask, "reset": reset, "return_states": True}
    run = lambda method: jrnn.scan(cell, params, None, xs, method=method, **how)
    _, (ys, states) = run("linear")
    assert np.isfinite(states.h[:, 5:]).all() and np.isnan(states.h[0, 3]).any()
    assert_close((states.h[:, 5:], ys[:, 5:]), (run("scan")[1][1].h[:, 5:], ys[:, 5:]))


def test_it_maps_over_rows():
    args = single()
    rows = jax.jit(jax.vmap(jrnn.linear_recurrence))
    assert_close(rows(*args), loop(*args))


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_what_is_not_finite_stays_in_steps_that_do_nothing():
    a, b, h0 = map(jnp.asarray, single())
    mask = jnp.ones((B, T), bool).at[:, 3].set(False)
    broken = lambda leaf: leaf.at[:, 3].set(jnp.nan)
    run = lambda a, b: jrnn.linear_recurrence(a, b, h0, mask=mask)
    grad = jax.jit(jax.grad(lambda a, b: jnp.sum(jnp.sin(run(a, b))), (0, 1)))
    assert_close(run(broken(a), broken(b)), run(a, b))
    assert_close(run(a, b)[:, 3], run(a, b)[:, 2])
    slopes = grad(broken(a), broken(b))
    assert all(np.isfinite(slope).all() for slope in slopes)
    assert_close(slopes, grad(a, b))


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_is_accumulated_in_float32(method):
    a, b = jnp.ones((600, 1), jnp.bfloat16), jnp.ones((600, 1), jnp.bfloat16)
    hs = jrnn.linear_recurrence(a, b, method=method)  # bfloat16 alone ends at 256
    assert hs.dtype == jnp.bfloat16 and float(hs[-1, 0]) == 600


@pytest.mark.parametrize("kind", ["Auto", "Explicit", "shard_map"])
def test_it_runs_on_a_mesh(kind):
    args = single()
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
    assert "custom_linear_solve" in traced(jrnn.LRU(3))


def test_what_cannot_be_run_is_refused():
    cell = jrnn.GRU(4)
    params = cell.init(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="`jrnn.forms.Linear`, but GRU"):
        jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)), method="linear")
    with pytest.raises(ValueError, match=r"b must have shape \[2, 5, 3\]"):
        jrnn.linear_recurrence(jnp.ones((2, 5, 3)), jnp.ones((2, 5, 4)))
    with pytest.raises(ValueError, match=r"h0 must have shape \[2, 3\]"):
        jrnn.linear_recurrence(*[jnp.ones((2, 5, 3))] * 2, jnp.ones((3,)))
    with pytest.raises(ValueError, match=r"a must have shape \[2, 5, 3, 3\]"):
        jrnn.linear_recurrence(jnp.ones((2, 5, 3, 2)), jnp.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="complex[0-9]+, but both must be real"):
        jrnn.linear_recurrence(jnp.ones((5, 3, 2, 2)), 1j * jnp.ones((5, 3, 2)))
    with pytest.raises(ValueError, match="method must be one of"):
        jrnn.linear_recurrence(*[jnp.ones((2, 5, 3))] * 2, method="fast")
    with pytest.raises(ValueError, match="no blocks of 5 coupled entries"):
        jrnn.linear_recurrence(*map(jnp.asarray, setting(5)), method="pallas")


@pytest.mark.parametrize("name", ["a", "b", "h0"])
def test_integers_are_refused_because_they_have_no_derivative(name):
    given = {"a": jnp.ones((4, 1)), "b": jnp.ones((4, 1)), "h0": jnp.ones(1)}
    given[name] = given[name].astype(int)
    with pytest.raises(TypeError, match=f"{name} must be floating point or complex"):
        jrnn.linear_recurrence(**given)
