"""A loop over steps as one kernel for a GPU, which holds the loop over time.

Each program computes one head for a block of 64 rows of the batch, in a loop over time.
The warpgroups of a program split the units, and each keeps the state of its units in
registers. In every step, each warpgroup writes the matmul input of its units to shared
memory, waits for the other warpgroups, multiplies all units by the weights of its own
units, and updates these. The weights are read into shared memory once, if they fit, and
otherwise stream through it in every step, from the cache of the chip.

It is written in Pallas for Mosaic GPU. JAX deprecated the other backend of Pallas for
GPUs, Triton, in version 0.11, and will remove it [1]. In Triton, the compiler also
decides what stays on the chip, and the speed of this kernel depends on that. Mosaic GPU
needs the warpgroup matmuls of Hopper, as of an H100; their blocks have 64 rows. They
round float32 to TF32, and accumulate in float32. Elementwise operations are computed in
float32, and the state is carried in float32.

FlashRNN [2] has kernels of the same kind, and others in which several programs share
the units of a head. The latter support larger heads than this kernel.

    units       a step, split into operations on blocks of units
    operations  what an operation does to them
    plan        sizes, bytes, and how arrays are laid out
    kernel      what a warpgroup does

References:
  [1] https://docs.jax.dev/en/latest/pallas/CHANGELOG.html
  [2] Poeppel et al., 2024, https://arxiv.org/abs/2412.07752
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu

from jrnn.kernels.pallas.gpu import kernel, plan as plans
from jrnn.kernels.pallas.gpu.operations import UnsupportedError
from jrnn.kernels.pallas.steps import Arrays, Body


def scan(
    body: Body, reverse: bool, arrays: Arrays, *, interpret: Any = None
) -> tuple[Any, Any]:
    """Runs `jax.lax.scan` of (shared, rows, carry, slices) -> (carry, out).

    Args:
      body: One step for all rows.
      reverse: Whether the loop begins with the last step.
      arrays: What the loop reads; `refusal` is None for them.
      interpret: Parameters of the interpreter; None to compile.

    Returns:
      The carry after the last step, and the outputs [T, B, ...] of all steps.
    """
    step, plan, weights = plans.prepare(body, arrays)
    ins, kinds = plans.inputs(step, plan, arrays)
    shapes = jax.eval_shape(body, *plans.one_step(arrays))
    carry, outs = (jax.tree.leaves(part) for part in shapes)
    shaped = [plans.padded_shape(plan, step, leaf) for leaf in carry]
    shaped += [(plan.time, *plans.padded_shape(plan, step, leaf)) for leaf in outs]
    results = [
        jax.ShapeDtypeStruct(shape, leaf.dtype)
        for shape, leaf in zip(shaped, carry + outs, strict=True)
    ]
    how = (step, plan, kinds, list(ins), reverse, len(carry), interpret is None)

    def recurrence(*refs: Any) -> None:
        kernel.Warpgroup(refs, *how).run()

    call = plgpu.kernel(
        recurrence,
        out_type=results,
        scratch_types=kernel.scratch(plan, step, interpret is None),
        grid=(plan.heads, plan.rows // plans.ROWS),
        grid_names=("head", "block"),
        num_threads=plan.groups,
        thread_name="group",
        interpret=interpret,
    )
    tiles = plans.tiles_of(plan, weights, step.matmul.transposed)
    if interpret is not None:  # its matmul does not take a transposed view
        tiles = tiles.swapaxes(-1, -2)
    found = call(*ins.values(), tiles)
    batch = jax.tree.leaves(arrays.carry)[0].shape[0]
    whole = [plans.restored(plan, a, batch) for a in found]
    return jax.tree.unflatten(jax.tree.structure(shapes), whole)


def refusal(body: Body, arrays: Arrays) -> str | None:
    """Returns why a loop cannot run as a kernel; None if it can."""
    try:
        step, plan, _ = plans.prepare(body, arrays)
    except UnsupportedError as error:
        return f"cannot compute {error} on a GPU"
    if plan.dtype not in (jnp.float32, jnp.bfloat16):
        return f"computes in float32 or bfloat16 on a GPU, and params are {plan.dtype}"
    exact = jax.config.jax_default_matmul_precision in ("highest", "float32")  # type: ignore[attr-defined]
    if exact and plan.dtype == jnp.float32:
        return "rounds inputs of matmuls to TF32 on a GPU, and precision is 'highest'"
    states = len(jax.tree.leaves(arrays.carry))
    state = states * plans.ROWS * plan.padded * 4
    if state > plans.STATE_BYTES:
        return (
            f"keeps the state of {plans.ROWS} rows in the registers of a GPU's core, "
            f"{states} arrays of {plan.padded} units in float32 or {state} bytes, "
            f"and may use {plans.STATE_BYTES} bytes"
        )
    shared = plans.shared_bytes(plan, step)
    if shared > plans.SHARED_BYTES:
        return (
            f"keeps {shared} bytes in the shared memory of a GPU's core, although it "
            f"streams the recurrent weights, and may use {plans.SHARED_BYTES} bytes"
        )
    return None
