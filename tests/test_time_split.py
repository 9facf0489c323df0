"""A sequence that is split over devices gives what one device gives."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jrnn
from jrnn.kernels import Linear, Parallel
from tests.cases import F, H, assert_close, randomise, shapes
from tests.time_split import CASES, check, meshed


@pytest.mark.without(
    "jax_check_tracer_leaks", reason="JAX keeps the trace of a gradient of shard_map"
)
@pytest.mark.parametrize("name", CASES)
def test_two_devices_give_what_one_gives(name):
    check(name, (2,))


def test_four_devices_give_what_one_gives():
    command = [sys.executable, "-m", "tests.time_split"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_recurrence_is_split():
    a, b = (jax.random.uniform(jax.random.key(i), (2, 8, 3, 2, 2)) for i in range(2))
    a, b = 0.5 * a, b[..., 0]
    expected = jrnn.linear_recurrence(a, b, reverse=True)
    with jax.set_mesh(meshed((2,))):
        found = jrnn.linear_recurrence(a, b, reverse=True, mesh_axis="time")
    assert jnp.max(jnp.abs(jax.device_get(found) - expected)) < 1e-6


def test_what_cannot_be_split_is_refused():
    def run(method, time=4):
        cell = jrnn.LRU(3) if isinstance(method, Linear) else jrnn.ParaGRU(3)
        params = cell.init(jax.random.key(0), 2)
        return jrnn.scan(cell, params, None, jnp.ones((time, 2)), method=method)

    with pytest.raises(ValueError, match=r"Auto axes of the mesh in use, \[\]"):
        run(Linear(mesh_axis="time"))
    explicit = jax.make_mesh((2,), ("time",), axis_types=(AxisType.Explicit,))
    with (
        jax.set_mesh(explicit),
        pytest.raises(ValueError, match="whose axis of time is Auto"),
    ):
        run(Parallel(mesh_axis="time"))
    with jax.set_mesh(meshed((2,))):
        with pytest.raises(
            ValueError, match="5 time steps cannot be sharded over the 2"
        ):
            run(Linear(mesh_axis="time"), 5)
        with pytest.raises(ValueError, match="Auto axes of the mesh"):
            run(Parallel(mesh_axis="batch"))
    with pytest.raises(ValueError, match="window and mesh_axis cannot be combined"):
        Parallel(window=3, mesh_axis="time")


@pytest.mark.parametrize("kind", ["Auto", "Explicit", "shard_map"])
@pytest.mark.parametrize("cell", [jrnn.ParaGRU(H), jrnn.GRU(H)], ids=str)
def test_a_batch_over_devices_gives_what_one_device_gives(cell, kind):
    params = randomise(shapes(cell, F), 1)
    xs = randomise(np.zeros((4, 7, F)), 3)

    def gradient(params, xs):
        loss = lambda xs: jnp.sum(
            jrnn.scan(cell, params, None, xs, method="parallel")[1] ** 2
        )
        return jax.grad(loss)(xs)

    expected = jax.jit(gradient)(params, xs)
    axis = AxisType.Explicit if kind == "Explicit" else AxisType.Auto
    mesh = jax.make_mesh((2,), ("data",), axis_types=(axis,))
    run = gradient
    if kind == "shard_map":
        specs = {"in_specs": (P(), P("data")), "out_specs": P("data")}
        run = jax.shard_map(gradient, mesh=mesh, **specs)
    with jax.set_mesh(mesh):
        place = lambda tree, spec: jax.device_put(tree, NamedSharding(mesh, spec))
        actual = jax.jit(run)(place(params, P()), place(xs, P("data")))
    assert_close(jax.device_get(actual), jax.device_get(expected))
    assert len(actual.sharding.device_set) == 2
