"""A loop over steps as one operation, which each platform lowers to its own kernel.

So a process traces only the kernel of the platform that a program is lowered for, and a
loop that does not fit a kernel is refused at lowering.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from jrnn.kernels.pallas import gpu, steps, tpu
from jrnn.kernels.pallas.steps import Arrays, Body
from jrnn.types import Array


class How(NamedTuple):
    """The static properties of a loop."""

    body: Body  # (shared, rows, carry, slices) -> (carry, out), for any number of rows
    structure: Any  # of `Arrays`
    reverse: bool
    memory: int  # bytes of a TPU's vector memory


def loop(body: Body, arrays: Arrays, reverse: bool, memory: int) -> tuple[Any, Any]:
    """Runs `jax.lax.scan` of a body as one kernel.

    Args:
      body: One step for a block of rows.
      arrays: What the loop reads.
      reverse: Whether the loop begins with the last step.
      memory: Bytes of vector memory that a kernel for a TPU may use.

    Returns:
      The carry after the last step, and the outputs [T, B, ...] of all steps.

    Raises:
      ValueError: when the program is lowered, if the platform has no kernel or if the
        kernel cannot compute or hold this loop.
    """
    leaves, structure = jax.tree.flatten(arrays)
    found = _loop.bind(*leaves, how=How(body, structure, reverse, memory))
    return jax.tree.unflatten(jax.tree.structure(tpu.results(body, arrays)), found)


def on_tpu(how: How, arrays: Arrays) -> tuple[Any, Any]:
    """Runs a loop by the kernel for TPUs."""
    if any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(arrays)):
        reason = "computes in float32 or bfloat16 on a TPU, and params are float64"
        raise _refused(reason, "float32")
    return _on_tpu(how, arrays)


def interpreted(how: How, arrays: Arrays) -> tuple[Any, Any]:
    """Runs a loop by the interpreter of the kernel for TPUs, for tests on CPUs."""
    return _on_tpu(how, arrays, interpret=True)


def _on_tpu(how: How, arrays: Arrays, **options: Any) -> tuple[Any, Any]:
    body, arrays = steps.trim(how.body, arrays)
    blocks = tpu.fitting(body, arrays, how.memory)
    if isinstance(blocks, str):
        raise _refused(
            blocks, "fewer units, or with more memory `jrnn.kernels.Pallas(memory=...)`"
        )
    limit = how.memory * 8 // 7
    return tpu.scan(body, blocks, how.reverse, limit, arrays, **options)


def on_gpu(how: How, arrays: Arrays) -> tuple[Any, Any]:
    """Runs a loop by the kernel for NVIDIA GPUs."""
    reason = gpu.refusal(how.body, arrays)
    if reason is not None:
        raise _refused(reason, "fewer units, more heads or bfloat16")
    return gpu.scan(how.body, how.reverse, arrays)


def elsewhere(how: How, arrays: Arrays) -> tuple[Any, Any]:
    """Refuses platforms without a kernel."""
    raise _refused("has kernels for TPUs and NVIDIA GPUs only", "another platform")


def _refused(reason: str, other: str) -> ValueError:
    return ValueError(f"method='pallas' {reason}. Use method='auto', or {other}.")


def _lower(name: str) -> Any:
    def run(*leaves: Array, how: How) -> list[Array]:
        arrays = jax.tree.unflatten(how.structure, leaves)
        return jax.tree.leaves(globals()[name](how, arrays))

    return mlir.lower_fun(run, multiple_results=True)


def _shapes(*leaves: Any, how: How) -> list[ShapedArray]:
    arrays = jax.tree.unflatten(how.structure, leaves)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arrays)
    found = jax.tree.leaves(tpu.results(how.body, shapes))
    return [ShapedArray(a.shape, a.dtype) for a in found]


def _batch(leaves: Any, axes: Any, how: How) -> tuple[list[Array], list[int]]:
    """Runs one kernel for all examples, or one after the other for several weights."""
    pairs = list(zip(leaves, axes, strict=True))
    size = next(a.shape[k] for a, k in pairs if k is not None)
    numbers = jax.tree.unflatten(how.structure, range(len(leaves)))
    shared = jax.tree.leaves(numbers.shared)
    whole = [_first(a, k, size) for a, k in pairs]
    if any(axes[n] is not None for n in shared):
        found = jax.lax.map(lambda leaves: _loop.bind(*leaves, how=how), whole)
        return found, [0] * len(found)
    at = dict.fromkeys(jax.tree.leaves((numbers.rows, numbers.carry)), 0)
    at |= dict.fromkeys(jax.tree.leaves(numbers.slices), 1)

    def folded(number: int) -> Array:
        a = jnp.moveaxis(whole[number], 0, at[number])
        return jax.lax.collapse(a, at[number], at[number] + 2)

    rows = [a if n in shared else folded(n) for n, a in enumerate(leaves)]
    found = _loop.bind(*rows, how=how)
    carried = len(jax.tree.leaves(numbers.carry))
    ends = [0] * carried + [1] * (len(found) - carried)

    def unfolded(a: Array, axis: int) -> Array:
        return a.reshape(*a.shape[:axis], size, -1, *a.shape[axis + 1 :])

    return [unfolded(a, axis) for a, axis in zip(found, ends, strict=True)], ends


def _first(a: Array, axis: Any, size: int) -> Array:
    """Moves the axis of examples to the front, or repeats an array without one."""
    if axis is None:
        return jnp.broadcast_to(a, (size, *a.shape))
    return jnp.moveaxis(a, axis, 0)


def _run(*leaves: Array, how: How) -> list[Array]:
    """Runs outside of `jit`, on the platform of the arrays."""
    names = {"cpu": "interpreted", "tpu": "on_tpu", "gpu": "on_gpu", "cuda": "on_gpu"}
    platform = next(iter(leaves[0].devices())).platform
    run = globals()[names.get(platform, "elsewhere")]
    return jax.tree.leaves(run(how, jax.tree.unflatten(how.structure, leaves)))


_loop = Primitive("gated_loop")
_loop.multiple_results = True
_loop.def_impl(_run)
_loop.def_abstract_eval(_shapes)
mlir.register_lowering(_loop, _lower("elsewhere"))
mlir.register_lowering(_loop, _lower("on_tpu"), platform="tpu")
mlir.register_lowering(_loop, _lower("on_gpu"), platform="cuda")
mlir.register_lowering(_loop, _lower("interpreted"), platform="cpu")
batching.primitive_batchers[_loop] = _batch
