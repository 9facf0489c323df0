"""A loop over steps as one kernel for a TPU, which keeps constants on the chip.

The grid iterates over blocks of the batch, and within each over blocks of time. A TPU
runs its grid in order: blocks that are the same for all of time, the weights and the
carried state, are read once and stay on the chip. The chip fetches the next block of
time while it computes.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jrnn.kernels.pallas.steps import Arrays, Body
from jrnn.types import Array

ROWS = (512, 256, 128, 64, 32)  # of a block; whole tiles of 32 rows in any dtype
STEPS = (16, 8, 4, 2, 1)  # of a block: starting a block costs some hundred cycles


class Blocks(NamedTuple):
    """How a loop is split."""

    rows: int
    steps: int


def scan(
    body: Body, blocks: Blocks, reverse: bool, limit: int, arrays: Arrays, **how: Any
) -> tuple[Any, Any]:
    """Runs `jax.lax.scan` of (shared, rows, carry, slices) -> (carry, out).

    Args:
      body: One step for a block of rows.
      blocks: How batch and time are split; they need not divide.
      reverse: Whether the loop begins with the last step.
      limit: Bytes of vector memory that the compiler may use.
      arrays: What the loop reads.
      **how: Options of `pallas_call`.

    Returns:
      The carry after the last step, and the outputs [T, B, ...] of all steps.
    """
    ranks = jax.tree.map(jnp.ndim, arrays.shared)
    outs = results(body, arrays)
    ins = arrays._replace(shared=jax.tree.map(_as_matrix, arrays.shared))
    ins = jax.tree.map(_as_integers, ins)
    time, batch = jax.tree.leaves(arrays.slices)[0].shape[:2]
    number = pl.cdiv(time, blocks.steps)

    def at(block: Any) -> Any:
        return number - 1 - block if reverse else block

    def shared(leaf: Any) -> pl.BlockSpec:
        zeros = (0,) * leaf.ndim
        once = pl.Buffered(1)  # it never changes
        return pl.BlockSpec(leaf.shape, lambda b, t: zeros, pipeline_mode=once)

    def resting(leaf: Any) -> pl.BlockSpec:
        rest = leaf.shape[1:]
        return pl.BlockSpec((blocks.rows, *rest), lambda b, t: (b, *[0] * len(rest)))

    def moving(leaf: Any) -> pl.BlockSpec:
        rest = leaf.shape[2:]
        shape = (blocks.steps, blocks.rows, *rest)
        return pl.BlockSpec(shape, lambda b, t: (at(t), b, *[0] * len(rest)))

    def kernel(given: Arrays, carried: Any, stacked: Any) -> None:
        block = pl.program_id(1)
        valid = jnp.minimum(blocks.steps, time - at(block) * blocks.steps)

        @pl.when(block == 0)
        def _() -> None:
            _write(carried, _read(given.carry))

        flags = jax.tree.map(lambda leaf: leaf.dtype == bool, arrays.slices)

        def one(index: Any, _: None) -> None:
            t = valid - 1 - index if reverse else index
            # Read before the loop, weights would be copied to registers and spilled.
            weights = jax.tree.map(_of_rank, ranks, given.shared)
            slices = jax.tree.map(_as_flags, _read(given.slices, t), flags)
            carry, out = body(weights, _read(given.rows), _read(carried), slices)
            _write(carried, carry)
            _write(stacked, out, t)

        lax.fori_loop(0, valid, one, None)

    kinds = Arrays(shared, resting, resting, moving)
    specs = [jax.tree.map(kind, part) for kind, part in zip(kinds, ins, strict=True)]
    call = pl.pallas_call(
        kernel,
        grid=(pl.cdiv(batch, blocks.rows), number),
        in_specs=[Arrays(*specs)],
        out_specs=(jax.tree.map(resting, outs[0]), jax.tree.map(moving, outs[1])),
        out_shape=outs,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=limit
        ),
        **how,
    )
    return call(ins)


def results(body: Body, arrays: Arrays) -> tuple[Any, Any]:
    """Returns the shapes of what a loop returns."""
    time = jax.tree.leaves(arrays.slices)[0].shape[0]

    def all_steps(shared: Any, rows: Any, carry: Any, slices: Any) -> Any:
        first = jax.tree.map(lambda leaf: leaf[0], slices)
        carry, out = body(shared, rows, carry, first)
        return carry, jax.tree.map(lambda a: jnp.broadcast_to(a, (time, *a.shape)), out)

    return jax.eval_shape(all_steps, *arrays)


def fitting(body: Body, arrays: Arrays, memory: int) -> Blocks | str:
    """Returns blocks that fit on the chip, or the reason why none do.

    The chip holds shared arrays once, and two blocks of all others, because it fetches
    the next block while it computes. A step needs about the size of one block again for
    temporary values, in float32. The number of rows is maximized before that of steps,
    because every block of rows reads the weights again.
    """
    carry, outs = results(body, arrays)
    ins = arrays._replace(shared=jax.tree.map(_as_matrix, arrays.shared))
    ins = jax.eval_shape(lambda tree: jax.tree.map(_as_integers, tree), ins)
    time, batch = jax.tree.leaves(arrays.slices)[0].shape[:2]
    fixed = sum(nbytes(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(ins.shared))
    resting = [(a, a.shape[1:]) for a in jax.tree.leaves((ins.rows, ins.carry, carry))]
    moving = [(leaf, leaf.shape[2:]) for leaf in jax.tree.leaves((ins.slices, outs))]

    def held(rows: int, steps: int) -> int:
        kept = sum(2 * nbytes((rows, *rest), a.dtype) for a, rest in resting)
        kept += sum(2 * steps * nbytes((rows, *rest), a.dtype) for a, rest in moving)
        computed = (nbytes((rows, *rest), jnp.float32) for _, rest in resting + moving)
        return kept + sum(computed)

    sizes = [batch, *(number for number in ROWS if number < batch)]
    for rows in (number for number in sizes if number <= ROWS[0]):
        for steps in STEPS:
            if steps <= max(time, 1) and fixed + held(rows, steps) <= memory:
                return Blocks(rows, steps)
    return (
        f"keeps the recurrent weights ({fixed} bytes) and a block of {sizes[-1]} rows "
        f"({held(sizes[-1], 1)} bytes) on the chip, and may use {memory} bytes"
    )


def nbytes(shape: tuple[int, ...], dtype: Any) -> int:
    """Returns the bytes of an array in tiles of 8 x 128 words of 32 bits."""
    *lead, rows, columns = (1, 1, *shape)
    size = jnp.dtype(dtype).itemsize
    high = max(32 // size, 8)
    tiles = math.prod(lead) * -(-rows // high) * -(-columns // 128)
    return tiles * high * 128 * size


def _as_matrix(leaf: Array) -> Array:
    """Reshapes vectors to [1, n], because the layout of vectors differs by TPU."""
    return leaf.reshape(1, -1) if leaf.ndim < 2 else leaf


def _of_rank(rank: int, ref: Any) -> Array:
    """Reads a matrix with the rank that it had before `_as_matrix`."""
    return ref[(0,) * (2 - rank) or ...]


def _as_integers(leaf: Array) -> Array:
    """Casts flags to integers, because blocks cannot hold booleans."""
    return leaf.astype(jnp.int32) if leaf.dtype == bool else leaf


def _as_flags(leaf: Array, flags: bool) -> Array:
    return leaf != 0 if flags else leaf


def _read(refs: Any, *index: Any) -> Any:
    return jax.tree.map(lambda ref: ref[index or ...], refs)


def _write(refs: Any, values: Any, *index: Any) -> None:
    for ref, new in zip(jax.tree.leaves(refs), jax.tree.leaves(values), strict=True):
        ref[index or ...] = new
