"""The kernel for GPUs: what it refuses, and the interpreter of Pallas on small loops.

`tests/test_kernels.py` compares its parts with the scan for every cell, and `tests/aot`
compiles it for an H100.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.kernels.pallas import gpu, steps
from jrnn.kernels.pallas.gpu import operations, plan
from tests.cases import assert_close
from tests.kernel_cases import BlockDiagonal

T, F, H = 2, 3, 20
interpreter = pytest.importorskip("jax._src.pallas.mosaic_gpu.interpret.params")


def forward_loop(cell, batch, dtype="float32", time=T):
    """Returns the body of a loop and shapes of what it reads, with masks and resets."""
    form = cell.form
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), F, dtype))
    state = jax.eval_shape(lambda p: cell.initial_state(p, (batch,)), params)
    xs = jax.ShapeDtypeStruct((time, batch, F), dtype)
    us = jax.eval_shape(cell.project, params, xs)
    flags = jax.ShapeDtypeStruct((time, batch, 1), bool)
    shared = steps.Shared(jax.eval_shape(form.recurrent, params), params)
    ahead = steps.Ahead(us, flags, flags)

    def body(*given):
        new = steps.forward(form, *given)
        return new, new

    return body, steps.Arrays(shared, steps.Rows(None, state), state, ahead)


def backward_loop(cell, batch, dtype="float32"):
    """Returns the same for the backward loop."""
    form = cell.form
    _, arrays = forward_loop(cell, batch, dtype)
    stacked = lambda a: jax.ShapeDtypeStruct((T, *a.shape), a.dtype)
    states = jax.tree.map(stacked, arrays.carry)

    def ahead(shared, us, states):
        vs = shared.recurrent(form.hidden(states))
        return vs, form.combine(shared.params, us, vs)

    vs, ps = jax.eval_shape(ahead, arrays.shared, arrays.slices.u, states)
    wide = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, "float32"), arrays.carry
    )
    outside = jax.tree.leaves(states)
    taped = steps.Taped(states, arrays.slices.u, vs, ps, outside, *arrays.slices[1:])
    carry = steps.Cotangents(wide, wide)
    arrays = steps.Arrays(arrays.shared, steps.Rows(None, None), carry, taped)
    return functools.partial(steps.backward, form), arrays


def filled(shapes):
    rng = np.random.default_rng(0)

    def fill(a):
        if a.dtype == bool:
            return jnp.asarray(rng.random(a.shape) < 0.6)
        return jnp.asarray(rng.standard_normal(a.shape) / 2, a.dtype)

    return jax.tree.map(fill, shapes)


def expected(body, reverse, arrays):
    """Returns the loop of JAX, with everything in float32."""
    arrays = jax.tree.map(
        lambda a: a if a.dtype == bool else a.astype("float32"), arrays
    )
    one = functools.partial(body, arrays.shared, arrays.rows)
    return jax.lax.scan(one, arrays.carry, arrays.slices, reverse=reverse)


@pytest.mark.without("jax_debug_nans", reason="the interpreter fills memory with NaN")
@pytest.mark.parametrize(
    "loop, cell, batch, dtype, streamed",
    [
        (forward_loop, jrnn.LSTM(H), 5, "float32", False),
        (backward_loop, jrnn.GRU(H), 5, "float32", True),
        pytest.param(
            forward_loop, jrnn.GRU(H), 70, "bfloat16", True, marks=pytest.mark.slow
        ),
        pytest.param(
            backward_loop, jrnn.LSTM(H), 5, "bfloat16", False, marks=pytest.mark.slow
        ),
        pytest.param(
            forward_loop, BlockDiagonal(H), 3, "float32", False, marks=pytest.mark.slow
        ),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_interpreted_kernel_equals_the_scan(
    loop, cell, batch, dtype, streamed, monkeypatch
):
    """Several warpgroups; no size is a multiple of a tile."""
    if streamed:
        monkeypatch.setattr(plan, "SHARED_BYTES", 0)
    body, arrays = loop(cell, batch, dtype)
    arrays = filled(arrays)
    how = {"interpret": interpreter.InterpretGPUParams()}
    found = jax.jit(functools.partial(gpu.scan, body, True, **how))(arrays)
    assert_close(
        jax.tree.map(lambda a: a.astype("float32"), found),
        expected(body, True, arrays),
        1e-5 if dtype == "float32" else 0.02,
    )


@pytest.mark.parametrize(
    "cell, reason",
    [
        (jrnn.LayerNormLSTM(H), "cannot compute the operation 'reduce_sum' on a GPU"),
        (jrnn.ProjectedGRU(H, 3), "cannot compute a recurrent map Factored on a GPU"),
        (jrnn.CoRNN(H, dt=0.1), "cannot compute a part of the units of a gate"),
    ],
    ids=str,
)
def test_steps_that_blocks_of_units_cannot_compute_are_refused(cell, reason):
    assert reason in gpu.refusal(*forward_loop(cell, 5))


def test_dtypes_and_precisions_that_tensor_cores_do_not_have_are_refused():
    with jax.enable_x64(True):
        found = gpu.refusal(*forward_loop(jrnn.Elman(H), 5, "float64"))
    assert "float32 or bfloat16 on a GPU, and params are float64" in found
    with jax.default_matmul_precision("highest"):
        found = gpu.refusal(*forward_loop(jrnn.Elman(H), 5))
        assert "rounds inputs of matmuls to TF32" in found
        assert gpu.refusal(*forward_loop(jrnn.Elman(H), 5, "bfloat16")) is None


def test_what_does_not_fit_is_refused_with_its_bytes():
    """Two arrays of 64 rows in registers; 64 rows and 8 tiles of 16 units in memory."""
    state, shared = 2 * 64 * 320 * 4, (64 * 512 + 8 * 16 * 512) * 4
    found = gpu.refusal(*forward_loop(jrnn.LSTM(300), 5))
    assert f"{state} bytes, and may use {plan.STATE_BYTES} bytes" in found
    found = gpu.refusal(*forward_loop(jrnn.Elman(512), 5))
    assert f"keeps {shared} bytes in the shared memory" in found
    assert f"may use {plan.SHARED_BYTES} bytes" in found


def test_weights_stream_only_where_they_do_not_fit():
    def resident(units, dtype):
        body, arrays = forward_loop(jrnn.LSTM(units), 5, dtype)
        return plan.prepare(body, arrays)[1].resident

    assert resident(64, "float32") and resident(128, "bfloat16")
    assert not resident(128, "float32") and not resident(256, "bfloat16")


def test_a_step_has_one_matmul():
    def twice(shared, rows, carry, x):
        new = steps.forward(jrnn.Elman(H).form, shared, rows, carry, x)
        return steps.forward(jrnn.Elman(H).form, shared, rows, new, x), None

    _, arrays = forward_loop(jrnn.Elman(H), 5)
    assert "2 matmuls, instead of one" in gpu.refusal(twice, arrays)


def test_a_logarithm_near_one_is_accurate():
    x = jnp.float32(1e-6) * jnp.arange(1, 50)
    assert_close(operations._log1p(x), jnp.log1p(x), 1e-6)
    assert operations._log1p(jnp.zeros(1))[0] == 0
