"""Rematerialization: a kernel runs on short pieces of a sequence, in nested loops.

The backward pass of a loop over T steps needs what T steps computed. Here an outer loop
saves the state only between its pieces, and recomputes each piece when the backward
pass reaches it [1]. Loops of lengths L1, ..., Lk over T = L1 * ... * Lk steps save
L1 + ... + Lk states instead of T, for k - 1 more forward passes.

References:
  [1] Chen et al., 2016, https://arxiv.org/abs/1604.06174
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import numerics
from jrnn.kernels import base
from jrnn.kernels.base import Inputs, Kernel, Loop, Options, Trajectory
from jrnn.meshes import place_rows
from jrnn.types import Array, Cell, State


def run(kernel: Kernel, cell: Cell, loop: Loop, options: Options) -> Trajectory:
    """Runs a kernel with the memory that `options.remat` asks for.

    The kernel gets the innermost pieces, and projects the inputs of a whole piece at
    once. Only inputs and outputs are stored for the whole sequence.

    Args:
      kernel: What runs a piece.
      cell: The cell to run.
      loop: The arrays of the whole sequence.
      options: Direction, unrolling, and what to keep.

    Returns:
      What the kernel would return for the whole sequence.
    """
    params, state, fresh, inputs = loop
    time, *batch = jax.tree.leaves(inputs.xs)[0].shape[: -cell.feature_axes or None]
    if options.remat is None or not time:
        return kernel.run(cell, loop, options)
    loops = lengths(options.remat, time)
    total = math.prod(loops)
    idle = total - time
    inner = options._replace(remat=None)
    outer = inner._replace(unroll=inner.unroll if loops[-1] == 1 else 1)
    wide, narrow = numerics.widened(params)

    def piece(depth: int, state: State, inputs: Inputs) -> tuple[State, Any]:
        if depth + 1 == len(loops):
            whole = Loop(narrow(wide), state, fresh, inputs)
            final, *out = kernel.run(cell, whole, inner)
            return final, out
        # The loop around each piece keeps XLA from merging it with its second run.
        again = jax.checkpoint(functools.partial(piece, depth + 1), prevent_cse=False)
        return base.unroll(again, state, inputs, outer)

    inputs = lengthened(inputs, idle, (time, *batch)) if idle else inputs
    folded = jax.tree.map(lambda a: a.reshape(*loops, *a.shape[1:]), inputs)
    final, out = piece(0, state, folded)
    states, ys = jax.tree.map(
        lambda a: a.reshape(total, *a.shape[len(loops) :])[:time], out
    )
    return Trajectory(final, states, ys)


def lengths(remat: str | tuple[int, ...] | None, time: int) -> tuple[int, ...]:
    """Returns the lengths of the nested loops, outermost first.

    "sqrt" prefers lengths that divide the time, so that no step is idle.

    Raises:
      ValueError: if `remat` is not a way to nest loops over this number of steps.

    Example:
      >>> from jrnn.kernels import remat
      >>> remat.lengths("sqrt", 100), remat.lengths("sqrt", 101)
      ((10, 10), (10, 11))
    """
    if remat is None:
        return (time,)
    if remat == "step" or not isinstance(time, int):  # symbolic, in exports
        return (time, 1)
    if remat == "sqrt":
        inner = base.divisor(time, math.isqrt(max(time - 1, 0)) + 1)
        return (-(-time // inner), inner)
    if not isinstance(remat, tuple) or not _cover(remat, time):
        raise ValueError(
            'remat must be None, "step", "sqrt" or a tuple of loop lengths whose '
            f"product is at least the {time} time steps, such as "
            f"{lengths('sqrt', time)}; got {remat!r}."
        )
    return remat


def _cover(loops: tuple[int, ...], time: int) -> bool:
    whole = [isinstance(n, int) and n > 0 for n in loops]
    return bool(loops) and all(whole) and math.prod(loops) >= time


def lengthened(inputs: Inputs, idle: int, axes: tuple[int, ...]) -> Inputs:
    """Appends steps that do nothing: copies of the last one, not to be kept."""
    keep = inputs.keep
    if keep is None:
        keep = place_rows(jnp.ones(axes, bool), inputs.xs, len(axes))

    def lengthen(a: Array) -> Array:
        last = jnp.broadcast_to(a[-1:], (idle, *a.shape[1:]))
        return jnp.concatenate([a, last])

    longer = jax.tree.map(lengthen, inputs._replace(keep=None))
    off = jnp.logical_and(lengthen(keep)[-idle:], False)
    return longer._replace(keep=jnp.concatenate([keep, off]))
