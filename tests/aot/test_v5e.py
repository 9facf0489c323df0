"""A compiler of TPUs accepts the kernels, and they fit; see `experiments.targets`."""

import functools

import jax
import jax.numpy as jnp
import pytest

import jrnn
from experiments import targets

pytestmark = pytest.mark.slow
F, V5E = 3, "v5e:2x2"


@pytest.fixture(autouse=True)
def v5e_compiler(monkeypatch):
    """Skips without it."""
    if targets.missing(V5E):
        pytest.skip(targets.missing(V5E))
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # libtpu does not know all
    targets.place(V5E)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "cell", [jrnn.LSTM, jrnn.GRU, jrnn.PeepholeLSTM, jrnn.MGU, jrnn.Elman]
)
def test_gated_cells_are_one_kernel_in_each_direction(cell, dtype):
    """Sizes of no whole tiles; many rows; and the largest weights that fit."""
    fits = 1024 if dtype == "float32" else 2048
    for units, rows in [(100, 20), (256, 1024), (fits, 32)]:
        made = cell(units)
        params = jax.eval_shape(lambda c=made: c.init(jax.random.key(0), F, dtype))
        xs = jax.ShapeDtypeStruct((rows, 128, F), dtype)
        flags = {"reset": jnp.zeros((rows, 128), bool)} if units == 100 else {}

        run = functools.partial(jrnn.scan, made, method="pallas", **flags)

        def loss(params, xs, run=run):
            return jnp.sum(run(params, None, xs)[1].astype("float32") ** 2)

        both = jax.value_and_grad(loss, (0, 1))
        program = targets.compiled(V5E, both, params, xs)
        assert program.kernels == 2 and not program.loops


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_a_linear_recurrence_is_one_kernel_in_each_direction(dtype, reverse):
    xs = jax.ShapeDtypeStruct((4, 4096, 100), dtype)
    run = functools.partial(jrnn.linear_recurrence, reverse=reverse, method="pallas")

    def loss(a, b):
        return jnp.sum(jnp.abs(run(a, b)).astype("float32") ** 2)

    assert targets.compiled(V5E, run, xs, xs).kernels == 1
    program = targets.compiled(V5E, jax.grad(loss, (0, 1)), xs, xs)
    assert program.kernels == 2 and not program.loops
