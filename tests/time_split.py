"""Compares a sequence that is split over devices with one device.

The tests call it with two devices; `python -m tests.time_split` checks four.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jrnn
from jrnn.kernels import Linear, Parallel
from jrnn.testing import weighted_sum
from tests.cases import F, H, assert_close, randomise, shapes

BATCH, TIME = 2, 8
CASES = {
    "linear": (jrnn.LRU(H), Linear(mesh_axis="time"), {"reverse": True}),
    "diagonal": (jrnn.ParaGRU(H), Parallel(mesh_axis="time"), {}),
    "dense": (jrnn.GRU(H), Parallel(mesh_axis="time"), {"reverse": True}),
    "fallback": (
        jrnn.ParaGRU(H),
        Parallel(tolerance=1e-30, max_iterations=1, mesh_axis="time"),
        {},
    ),
}


def meshed(shape):
    names = ("batch", "time")[-len(shape) :]
    devices = jax.devices()[: int(np.prod(shape))]
    kinds = (AxisType.Auto,) * len(shape)
    return jax.make_mesh(shape, names, axis_types=kinds, devices=devices)


def check(name, shape):
    """Raises unless all values and gradients agree, and little is exchanged."""
    cell, method, how = CASES[name]
    params = randomise(shapes(cell, F), 1)
    state = randomise(cell.initial_state(params, (BATCH,)), 2)
    xs = randomise(np.zeros((BATCH, TIME, F)), 3)
    rng = np.random.default_rng(0)
    flags = {n: jnp.asarray(rng.random((BATCH, TIME)) < p) for n, p in RATES.items()}

    def run(method):
        def loss(args, flags):
            out = jrnn.scan(
                cell, *args, method=method, return_states=True, **how, **flags
            )
            return weighted_sum(out), out

        return jax.jit(jax.value_and_grad(loss, has_aux=True))

    expected = run("scan")((params, state, xs), flags)
    mesh = meshed(shape)
    rows = "batch" if len(shape) > 1 else None
    place = lambda tree, *spec: jax.device_put(tree, NamedSharding(mesh, P(*spec)))
    with jax.set_mesh(mesh):
        args = place(params), place(state, rows), place(xs, rows, "time")
        flags = place(flags, rows, "time")
        compiled = run(method).lower(args, flags).compile()
        actual = compiled(args, flags)
    assert_close(jax.device_get(actual), jax.device_get(expected), 2e-5)
    spec = actual[0][1][1][0].sharding.spec
    assert "time" in spec, spec  # outputs stay split
    small = shape[-1] * BATCH * H * H  # a state and a Jacobian of each device
    bits = 64 if jax.config.jax_enable_x64 else 32
    exchange = rf"= f{bits}\[([\d,]*)\]\S* all-gather\("
    gathered = re.findall(exchange, compiled.as_text())
    assert gathered, "nothing is exchanged"
    assert all(np.prod([int(n) for n in g.split(",")]) <= small for g in gathered)


RATES = {"mask": 0.8, "reset": 0.2}

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 4)
    check("linear", (4,))
    check("fallback", (2, 2))
