"""The kernels of linear recurrences, interpreted and lowered; accuracy in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jrnn
from experiments import parallel
from jrnn.kernels.recurrence import orders, pallas
from jrnn.kernels.recurrence.orders import Steps
from jrnn.kernels.recurrence.rings import Complex, Units
from tests.cases import assert_close

TRITON = "__gpu$xla.gpu.triton"
RINGS = {
    "real": (Units(), 1, 1),
    "pairs": (Units(2), 4, 2),
    "complex": (Complex(), 2, 2),
}


def steps_of(ring, shape, reset):
    rng = np.random.default_rng(0)
    _, factors, addends = RINGS[ring]
    draw = lambda: jnp.asarray(rng.uniform(-0.7, 0.7, shape), jnp.float32)
    a, b = (tuple(draw() for _ in range(n)) for n in (factors, addends))
    return Steps(a, b, jnp.asarray(rng.random(shape[:-1]) < 0.3) if reset else None)


@pytest.mark.parametrize("kernel", [pallas.tpu, pallas.gpu])
@pytest.mark.parametrize(
    ("ring", "shape", "how"),
    [
        ("real", (13, 2, 3), "reset, reverse"),
        ("real", (19, 40, 1), ""),
        ("pairs", (10, 3, 5), "reset"),
        ("complex", (9, 131), "reverse"),
    ],
)
def test_a_kernel_equals_the_scan(kernel, ring, shape, how):
    steps = steps_of(ring, shape, "reset" in how)
    ring, reverse = RINGS[ring][0], "reverse" in how
    run = jax.jit(functools.partial(kernel, ring, reverse=reverse, interpret=True))
    assert_close(run(steps), orders.scan(ring, steps, reverse), 1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_blocks_of_a_tpu_need_not_divide_the_sizes(reverse, monkeypatch):
    monkeypatch.setattr(pallas, "ON_CHIP", 4 * 4 * 1024 * 4)  # four steps in a block
    monkeypatch.setattr(pallas, "ROWS", 2)
    monkeypatch.setattr(pallas, "COLUMNS", 3)
    steps = steps_of("real", (11, 5, 7), True)
    found = jax.jit(
        functools.partial(pallas.tpu, Units(), reverse=reverse, interpret=True)
    )(steps)
    assert_close(found, orders.scan(Units(), steps, reverse), 1e-6)


def test_a_kernel_maps_over_rows():
    steps = steps_of("real", (13, 2, 3), False)
    for kernel in (pallas.tpu, pallas.gpu):
        run = functools.partial(kernel, Units(), reverse=False, interpret=True)
        found = jax.jit(jax.vmap(run, in_axes=1, out_axes=1))(steps)
        assert_close(found, orders.scan(Units(), steps, False), 1e-6)


def lowered(platform, time=600, **how):
    """Returns the program of a value and its gradients, for a platform."""

    def both(a, b):
        run = functools.partial(jrnn.linear_recurrence, **how)
        hs, pull = jax.vjp(run, a, b)
        return pull(hs)

    shape = jax.ShapeDtypeStruct((4, time, 130), jnp.float32)
    unchecked = [export.DisabledSafetyCheck.custom_call(TRITON)]
    card = jax.sharding.AbstractDevice("NVIDIA H100", 132, "gpu")
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.sharding.AbstractMesh((1,), ("card",), auto, abstract_device=card)
    with jax.sharding.use_abstract_mesh(mesh):  # JAX 0.12 asks which card it is
        program = export.export(
            jax.jit(both), platforms=[platform], disabled_checks=unchecked
        )(shape, shape)
    return program.mlir_module()


def counts(text):
    return [
        text.count(word) for word in ("@tpu_custom_call", TRITON, "stablehlo.while")
    ]


def test_the_platform_decides_when_a_recurrence_is_lowered():
    """The process has CPUs; `default_backend` would lower all for them."""
    forward_and_backward = 2
    assert counts(lowered("tpu", method="pallas")) == [forward_and_backward, 0, 0]
    assert counts(lowered("cuda", method="pallas")) == [0, forward_and_backward, 0]
    assert counts(lowered("cpu", method="pallas"))[:2] == [0, 0]
    loops, tree = [0, 0, forward_and_backward], [0, 0, 0]
    assert counts(lowered("cpu")) == counts(lowered("tpu", time=100)) == loops
    assert counts(lowered("cuda")) == counts(lowered("tpu")) == tree


@pytest.mark.parametrize("gate", [0.5, 0.95])
def test_no_accuracy_is_lost_over_long_sequences(gate):
    """Heinsen, 2023, https://arxiv.org/abs/2311.06281, has the form in logarithms."""
    measured = parallel.gated_average(16384, gate)
    assert parallel.relative_error(parallel.log_space, *measured) >= 1e-4
    for method in ("scan", "associative", "chunk", "pallas"):
        run = parallel.linear(method)
        assert parallel.relative_error(run, *measured) <= 1e-6, method
