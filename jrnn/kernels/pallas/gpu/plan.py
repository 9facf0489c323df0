"""Sizes of a kernel for a GPU, its bytes, and how arrays are laid out for it."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.kernels.pallas.gpu import units
from jrnn.kernels.pallas.gpu.operations import Slot, UnsupportedError
from jrnn.kernels.pallas.steps import Arrays, Body
from jrnn.linear_maps import BlockDiagonal, Matmul
from jrnn.types import Array

ROWS = 64  # of a program: a matmul of a warpgroup has no fewer
UNITS = 16  # that a warpgroup updates at a time
WARPGROUPS = 4
# Of a block of threads on compute capability 9.0, CUDA C++ Programming Guide, Technical
# Specifications: 227 KiB of shared memory, 64 Ki registers of 4 bytes. One KiB is left
# to barriers and to the compiler, and half of the registers to values of one step.
SHARED_BYTES = 226 * 2**10
STATE_BYTES = 128 * 2**10


class Plan(NamedTuple):
    """Sizes of a kernel, all static."""

    time: int
    rows: int  # padded
    heads: int
    size: int  # units of a head
    padded: int  # the same, padded
    tiles: int  # of the weights, for each block of units: one for each gate
    groups: int  # warpgroups
    dtype: Any  # of the weights
    resident: bool  # whether all weights stay in shared memory

    @property
    def turns(self) -> int:
        """Blocks of units of one warpgroup."""
        return self.padded // (UNITS * self.groups)


def prepare(body: Body, arrays: Arrays) -> tuple[units.Step, Plan, Array]:
    """Splits a step into operations, and plans its kernel.

    Raises:
      UnsupportedError: if that is impossible.
    """
    recurrent = arrays.shared.recurrent
    if isinstance(recurrent, BlockDiagonal):
        heads, size, _ = recurrent.w.shape
    elif isinstance(recurrent, Matmul):
        heads, size = 1, recurrent.w.shape[0]
    else:
        raise UnsupportedError(f"a recurrent map {type(recurrent).__name__}")
    step = units.take_apart(body, one_step(arrays), heads * size)
    for slot, (kind, leaf) in zip(step.ins, _leaves(arrays), strict=True):
        if slot in step.used() and kind != "weights":
            flags = kind == "slices" and leaf.shape[2:] == (1,) and leaf.dtype == bool
            axes = {"shared": 1, "rows": 2, "carry": 2, "slices": 3}[kind]
            vector = leaf.ndim == axes and leaf.shape[-1] % (heads * size) == 0
            if not (vector or flags):
                raise UnsupportedError(f"an array of shape {list(leaf.shape)}")
    time, batch = jax.tree.leaves(arrays.slices)[0].shape[:2]
    groups = next((n for n in (1, 2) if size <= n * UNITS), WARPGROUPS)
    plan = Plan(
        time=time,
        rows=_up(batch, ROWS),
        heads=heads,
        size=size,
        padded=_up(size, groups * UNITS),
        tiles=step.gates(
            step.matmul.left if step.matmul.transposed else step.matmul.out
        ),
        groups=groups,
        dtype=jnp.dtype(recurrent.w.dtype),
        resident=True,
    )
    if shared_bytes(plan, step) > SHARED_BYTES:
        plan = plan._replace(resident=False)
    return step, plan, recurrent.w


def one_step(arrays: Arrays) -> tuple[Any, ...]:
    """Returns the shapes of one step, with a dense map: heads are blocks of it."""
    shared, rows, carry, slices = arrays
    w = shared.recurrent.w
    if w.ndim == 3:
        heads, size, width = w.shape
        dense: Any = jax.ShapeDtypeStruct((heads * size, heads * width), w.dtype)
        shared = shared._replace(recurrent=Matmul(dense))
    first = jax.eval_shape(lambda tree: jax.tree.map(lambda a: a[0], tree), slices)
    return shared, rows, carry, first


def _leaves(arrays: Arrays) -> list[tuple[str, Array]]:
    """Returns the leaves in the order of a step's arguments, with their kinds."""
    weights = len(jax.tree.leaves(arrays.shared.recurrent))
    shared = jax.tree.leaves(arrays.shared)
    found = [("weights" if n < weights else "shared", a) for n, a in enumerate(shared)]
    for kind in ("rows", "carry", "slices"):
        found += [(kind, leaf) for leaf in jax.tree.leaves(getattr(arrays, kind))]
    return found


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def padded_shape(plan: Plan, step: units.Step, leaf: Any) -> tuple[int, ...]:
    """Returns the shape that `leaf` [rows, gates * units] has in a kernel."""
    return (plan.rows, leaf.shape[-1] // step.units, plan.heads, plan.padded)


def inputs(
    step: units.Step, plan: Plan, arrays: Arrays
) -> tuple[dict[Slot, Array], dict[Slot, str]]:
    """Returns what a kernel reads, and which part of `Arrays` each slot is from."""
    leaves, used = _leaves(arrays), step.used()
    kinds = {slot: kind for slot, (kind, _) in zip(step.ins, leaves, strict=True)}
    ins = {
        slot: _canonical(plan, kind, leaf, step.gates(slot))
        for slot, (kind, leaf) in zip(step.ins, leaves, strict=True)
        if slot in used and kind != "weights"
    }
    return ins, kinds


def _canonical(plan: Plan, kind: str, leaf: Array, gates: int) -> Array:
    """Returns [..., rows, gates, heads, units], padded.

    Units beyond the last one are copies of it: elementwise operations compute the same
    for them as for the last unit. Flags have a column for each unit of a block, and
    vectors a row for each row of a block.
    """
    if leaf.dtype == bool:
        leaf = jnp.broadcast_to(leaf, (*leaf.shape[:-1], UNITS)).astype(jnp.float32)
        leaf = leaf[..., None, None, :]
    else:
        leaf = leaf.reshape(*leaf.shape[:-1], gates, plan.heads, plan.size)
        leaf = _edges(leaf, -1, plan.padded)
    if kind == "shared":
        return jnp.broadcast_to(leaf, (ROWS, *leaf.shape))
    return _edges(leaf, -4, plan.rows)


def _edges(a: Array, axis: int, size: int, mode: str = "edge") -> Array:
    missing = [(0, 0)] * a.ndim
    missing[axis] = (0, size - a.shape[axis])
    return jnp.pad(a, missing, mode=mode) if missing[axis][1] else a


def restored(plan: Plan, a: Array, batch: int) -> Array:
    """Inverts `_canonical`."""
    a = a[..., :batch, :, :, : plan.size]
    return a.reshape(*a.shape[:-3], -1)


def tiles_of(plan: Plan, w: Array, transposed: bool) -> Array:
    """Returns weights [heads, blocks of units, gates, units of a block, units].

    The last axis is the one that a matmul sums over, where padding is zero.
    """
    w = w.reshape(plan.heads, plan.size, plan.tiles, plan.size)
    w = w.transpose(0, 2, 1, 3) if transposed else w.transpose(0, 2, 3, 1)
    w = _edges(_edges(w, -1, plan.padded, "constant"), -2, plan.padded)
    w = w.reshape(plan.heads, plan.tiles, -1, UNITS, plan.padded)
    return w.swapaxes(1, 2)


def held(plan: Plan, step: units.Step) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the shapes of weights and of the left operand in shared memory."""
    tile = (UNITS, plan.padded)
    if plan.resident:
        weights = (plan.padded // UNITS, plan.tiles, *tile)
    else:
        weights = (plan.groups, 2, *tile)  # one in use, one being fetched
    parts = plan.tiles if step.matmul.transposed else 1
    return weights, (parts, ROWS, plan.padded)


def shared_bytes(plan: Plan, step: units.Step) -> int:
    """Returns the bytes of all that is in shared memory."""
    return sum(math.prod(shape) for shape in held(plan, step)) * plan.dtype.itemsize
