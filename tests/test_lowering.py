"""The platform that a program is lowered for decides what is in it, not the process.

Programs are exported from CPUs; those of tests/aot are compiled.
"""

import collections
import functools
import re

import jax
import jax.numpy as jnp
import pytest
from jax import export

import jrnn
from jrnn.kernels import cudnn
from jrnn.kernels.gated import layout

T, B, F, H = 5, 9, 3, 7
GATED = [
    jrnn.LSTM(H),
    jrnn.GRU(H),
    jrnn.PeepholeLSTM(H, separate_biases=True),
    jrnn.MGU(H),
    jrnn.Elman(H),
]
TPU, GPU, CUDNN = "@tpu_custom_call", "@mosaic_gpu_v2", "@cudnn_rnn_ffi"
WHILE = "stablehlo.while"


def exported(cell, platforms, method, time=T, dtype="float32", **how):
    """Returns the program of a value and its gradients."""

    def both(params, xs):
        def loss(params, xs):
            ys = jrnn.scan(cell, params, None, xs, method=method, **how)[1]
            return jnp.sum(ys.astype("float32"))

        return jax.value_and_grad(loss, argnums=(0, 1))(params, xs)

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), F, dtype))
    xs = jax.ShapeDtypeStruct((B, time, F), dtype)
    unchecked = [export.DisabledSafetyCheck.custom_call("cudnn_rnn_ffi")]
    run = export.export(jax.jit(both), platforms=platforms, disabled_checks=unchecked)
    return run(params, xs).mlir_module()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell", GATED, ids=lambda cell: type(cell).__name__)
def test_a_tpu_gets_the_kernel(cell, dtype):
    flags = {"reset": jnp.zeros((B, T), bool), "lengths": jnp.full(B, 2)}
    text = exported(cell, ["tpu"], "pallas", dtype=dtype, **flags)
    assert text.count(TPU) == 2  # forward and backward


@pytest.mark.without("jax_enable_checks", reason="JAX's own lowering fails its check")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell", GATED, ids=lambda cell: type(cell).__name__)
def test_a_gpu_gets_a_kernel_forward_and_backward(cell, dtype):
    flags = {"reset": jnp.zeros((B, T), bool), "lengths": jnp.full(B, 2)}
    text = exported(cell, ["cuda"], "pallas", dtype=dtype, **flags)
    assert text.count(GPU) == 2 and TPU not in text and WHILE not in text


def test_a_cpu_gets_the_interpreted_kernel():
    text = exported(jrnn.GRU(H), ["cpu"], "pallas")
    assert TPU not in text and GPU not in text and WHILE in text


@pytest.mark.parametrize("method", ["auto", "gated", "scan", "parallel", "linear"])
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_other_methods_are_the_same_program_for_every_platform(platform, method):
    cell = jrnn.LRU(H) if method == "linear" else jrnn.GRU(H)
    text = exported(cell, [platform], method)
    assert "custom_call" not in text.replace("stablehlo.custom_call @Sharding", "")


def test_a_complex_state_moves_step_by_step_on_a_cpu_only():
    """There, the loop holds the matmuls that read the state, as in the scan."""
    cell = jrnn.LRU(H)
    cpu, gpu = (exported(cell, [name], "auto", time=64) for name in ("cpu", "cuda"))
    loop = exported(cell, ["cpu"], "scan", time=64)
    assert WHILE in cpu and WHILE not in gpu
    kinds = ("dot_general", "dynamic_update_slice", "dynamic_slice", "concatenate")
    for kind in kinds:
        assert cpu.count(f"stablehlo.{kind}") == loop.count(f"stablehlo.{kind}"), kind


def test_a_layout_is_that_of_the_platform(monkeypatch):
    """A CPU has loops over chunks and within them, and an accelerator one chunk."""
    monkeypatch.setattr(layout, "ONE_CHUNK_BYTES", 0)
    monkeypatch.setattr(layout, "CHUNK_ROWS", 4 * B)
    monkeypatch.setattr(layout, "SAVING_STEPS", 4)
    cell = jrnn.LSTM(H + 1)  # traced by no other test
    cpu, cuda, tpu = (
        exported(cell, [platform], "gated", time=16).count(WHILE)
        for platform in ("cpu", "cuda", "tpu")
    )
    assert cuda == tpu == 2 and cpu > 2


def test_loops_are_unrolled_on_accelerators():
    """Which start each operation of a step anew; the caller has the last word."""
    cell = jrnn.LSTM(H + 2)  # traced by no other test

    def operations(platform, **how):
        text = exported(cell, [platform], "auto", time=16, **how)
        return collections.Counter(re.findall(r"stablehlo\.\w+", text))

    four, one = operations("cuda", unroll=4), operations("cuda", unroll=1)
    assert operations("cuda") == operations("tpu") == four != one
    assert operations("cpu") == operations("cpu", unroll=1)


@pytest.mark.without("jax_enable_checks", reason="JAX's own lowering fails its check")
def test_one_program_can_serve_several_platforms():
    exported(jrnn.GRU(H), ["cpu", "cuda", "tpu"], "auto")
    text = exported(jrnn.GRU(H), ["cpu", "cuda", "tpu"], "pallas")
    assert TPU in text and GPU in text


def test_a_kernel_is_refused_when_it_is_lowered(monkeypatch):
    message = "method='pallas' has kernels for TPUs and NVIDIA GPUs only"
    with pytest.raises(ValueError, match=message):
        exported(jrnn.GRU(H), ["rocm"], "pallas")
    for platform, name in (("tpu", "TPU"), ("cuda", "GPU")):
        message = f"computes in float32 or bfloat16 on a {name}, and params are float64"
        with jax.enable_x64(True), pytest.raises(ValueError, match=message):
            exported(jrnn.GRU(H), [platform], "pallas", dtype="float64")
    monkeypatch.setattr(cudnn, "unavailable", lambda: None)
    monkeypatch.setattr(cudnn.rnn, "lstm_fwd", call_of_cudnn)
    message = "method='cudnn' needs an NVIDIA GPU, and the program is lowered for "
    for platform in ("tpu", "cpu"):
        with pytest.raises(ValueError, match=message + platform):
            forward_of_cudnn(platform)


def call_of_cudnn(x, h, c, weights, lengths, *how):
    """Has the call that JAX makes if its CUDA plugin is installed."""
    del how
    shapes = (jax.ShapeDtypeStruct((*x.shape[:2], H), x.dtype), h, c)
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in shapes]
    call = jax.ffi.ffi_call("cudnn_rnn_ffi", shapes)
    return tuple(call(x, h, c, weights, lengths)), ()


def forward_of_cudnn(platform, **how):
    cell = jrnn.LSTM(H)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), F, "float32"))
    xs = jax.ShapeDtypeStruct((B, T, F), jnp.float32)
    run = functools.partial(jrnn.scan, cell, method="cudnn", **how)
    unchecked = [export.DisabledSafetyCheck.custom_call("cudnn_rnn_ffi")]
    program = export.export(
        jax.jit(lambda params, xs: run(params, None, xs)),
        platforms=[platform],
        disabled_checks=unchecked,
    )
    return program(params, xs).mlir_module()


@pytest.mark.parametrize("reverse", [False, True])
def test_cudnn_is_called_once_and_moves_nothing(reverse, monkeypatch):
    monkeypatch.setattr(cudnn, "unavailable", lambda: None)
    monkeypatch.setattr(cudnn.rnn, "lstm_fwd", call_of_cudnn)
    text = forward_of_cudnn("cuda", reverse=reverse)
    assert text.count(CUDNN) == 1
    assert "gather" not in text and "scatter" not in text and WHILE not in text
    text = forward_of_cudnn("cuda", reverse=reverse, lengths=jnp.full(B, 2))
    assert ("gather" in text) == reverse
