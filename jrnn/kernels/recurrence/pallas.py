"""Linear recurrences as one kernel that keeps the state on the chip.

A compiled loop of JAX starts several kernels in every step, and each reads the state
from memory and writes it back. Here one kernel computes all steps: it reads each factor
and addend once, writes each state once, and carries the state in registers.

TPU: a grid runs in order, so its last axis is time, in blocks that the chip fetches
while it computes the one before. The carried state is scratch memory.

GPU: a grid runs in parallel, so each program takes a few lanes and loops over time
inside. The loads of some steps are issued together, before the first of these steps.
Triton compiles it, as it does for all cards of NVIDIA and AMD; Mosaic GPU needs Hopper
or later, and pays for matrix units and asynchronous copies, which nothing here uses.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu, triton as pltriton

from jrnn.kernels.recurrence.orders import Steps, advance, whole
from jrnn.kernels.recurrence.rings import Matrices, Planes, Ring
from jrnn.numerics import wide
from jrnn.types import Array

ROWS, COLUMNS = 32, 256  # of the state of a TPU program: eight registers of 4 KiB
ON_CHIP = 4 * 2**20  # bytes of one block of all arrays; the chip holds two of each
TOGETHER = 8  # steps whose loads a GPU program issues together
WARP = 32  # threads
ADDRESSES = 2**31  # elements that 32 bits can count


def refusal(ring: Ring, b: Planes) -> str | None:
    """Returns why no kernel computes such a recurrence; None if one does."""
    if isinstance(ring, Matrices):
        return f"holds no blocks of {b[0].shape[-1]} coupled entries on the chip"
    if wide(b[0]) != jnp.float32:
        return f"computes in float32, and the arrays are {b[0].dtype}"
    if math.prod(b[0].shape) >= ADDRESSES:
        return f"counts less than {ADDRESSES} elements, and there are more"
    return None


def tpu(ring: Ring, steps: Steps, reverse: bool, *, interpret: bool = False) -> Planes:
    """Computes all states from zeros by a TPU kernel."""
    if 0 in steps.b[0].shape:
        return steps.b
    time, rows, columns = _folded(steps)
    sides = min(rows, ROWS), min(columns, COLUMNS)
    flat = _flat(whole(ring, steps), (time, rows, columns), (time, rows, 1))
    held = len(flat.a) + 2 * len(flat.b) + (flat.restart is not None)
    length = min(time, max(1, ON_CHIP // (4 * held * max(1024, math.prod(sides)))))
    blocks = pl.cdiv(time, length)

    def order(block: Any) -> Any:
        return blocks - 1 - block if reverse else block

    numbers = pl.BlockSpec((length, *sides), lambda r, c, block: (order(block), r, c))
    flags = pl.BlockSpec(
        (length, sides[0], 1), lambda r, c, block: (order(block), r, 0)
    )
    call = pl.pallas_call(
        functools.partial(_tpu_block, ring, time, order, reverse),
        grid=(pl.cdiv(rows, sides[0]), pl.cdiv(columns, sides[1]), blocks),
        in_specs=[_specs(flat, numbers, flags)],
        out_specs=(numbers,) * len(flat.b),
        out_shape=_shapes(flat),
        scratch_shapes=[pltpu.VMEM(sides, jnp.float32)] * len(flat.b),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        interpret=interpret,
    )
    return _unfolded(call(flat), steps.b)


def interpreted(ring: Ring, steps: Steps, reverse: bool) -> Planes:
    """Computes all states from zeros by the TPU kernel, interpreted on a CPU."""
    return tpu(ring, steps, reverse, interpret=True)


def _tpu_block(
    ring: Ring,
    time: int,
    order: Callable[[Any], Any],
    reverse: bool,
    steps: Any,
    *refs: Any,
) -> None:
    """Computes the steps of one block, from the last state of the previous block."""
    out, state = refs[: len(steps.b)], refs[len(steps.b) :]
    block, length = pl.program_id(2), out[0].shape[0]

    @pl.when(block == 0)
    def _() -> None:
        for ref in state:
            ref[...] = jnp.zeros_like(ref)

    valid = jnp.minimum(length, time - order(block) * length)  # the last is not full

    def one(index: Array, h: Planes) -> Planes:
        t = valid - 1 - index if reverse else index
        h = advance(ring, h, _read(steps, lambda ref: ref[t]))
        for ref, new in zip(out, h, strict=True):
            ref[t] = new.astype(ref.dtype)
        return h

    h = lax.fori_loop(0, valid, one, tuple(ref[...] for ref in state))
    for ref, new in zip(state, h, strict=True):
        ref[...] = new


def gpu(ring: Ring, steps: Steps, reverse: bool, *, interpret: bool = False) -> Planes:
    """Computes all states from zeros by a GPU kernel."""
    if 0 in steps.b[0].shape:
        return steps.b
    time, rows, columns = _folded(steps)
    lanes = rows * columns
    flat = _flat(whole(ring, steps), (time, lanes), (time, rows))
    warps = 1 if lanes <= 128 * WARP else 4  # few lanes: spread them over the chip

    def body(steps: Any, *out: Any) -> None:
        lane = pl.program_id(0) * (warps * WARP) + jnp.arange(warps * WARP)
        inside = lane < lanes
        load = functools.partial(pltriton.load, mask=inside, other=0)

        def fetch(step: Any) -> tuple[Any, Steps]:
            t = time - 1 - step if reverse else step
            row = lane // columns
            at = lambda ref: load(ref.at[t, lane if ref.shape[1] == lanes else row])  # noqa: E731
            return t, _read(steps, at)

        def take(first: Any, number: int, h: Planes) -> Planes:
            fetched = [fetch(first + i) for i in range(number)]
            for t, step in fetched:
                h = advance(ring, h, step)
                for ref, new in zip(out, h, strict=True):
                    pltriton.store(ref.at[t, lane], new.astype(ref.dtype), mask=inside)
            return h

        h = tuple(jnp.zeros(warps * WARP, jnp.float32) for _ in out)
        trips, rest = divmod(time, TOGETHER)
        h = lax.fori_loop(0, trips, lambda i, h: take(i * TOGETHER, TOGETHER, h), h)
        take(trips * TOGETHER, rest, h)

    call = pl.pallas_call(
        body,
        grid=(pl.cdiv(lanes, warps * WARP),),
        out_shape=_shapes(flat),
        compiler_params=pltriton.CompilerParams(num_warps=warps, num_stages=1),
        interpret=interpret,
    )
    return _unfolded(call(flat), steps.b)


def _folded(steps: Steps) -> tuple[int, int, int]:
    """Returns time, the number of rows, and the size of the last axis."""
    time, *rest = steps.b[0].shape
    columns = rest[-1] if rest else 1
    return time, math.prod(rest) // columns, columns


def _flat(steps: Steps, shape: tuple[int, ...], flags: tuple[int, ...]) -> Steps:
    """Returns steps whose axes are joined; flags become integers, one for each row."""
    b, restart = steps.b, steps.restart
    if restart is not None:
        rows = b[0].shape[:-1] if b[0].ndim > 1 else b[0].shape
        extra = (1,) * (len(rows) - restart.ndim)
        whole = jnp.broadcast_to(restart.reshape(restart.shape + extra), rows)
        restart = whole.astype(jnp.int32).reshape(flags)
    a, b = (tuple(plane.reshape(shape) for plane in planes) for planes in (steps.a, b))
    return Steps(a, b, restart)


def _unfolded(h: Planes, like: Planes) -> Planes:
    return tuple(plane.reshape(b.shape) for plane, b in zip(h, like, strict=True))


def _read(refs: Any, at: Callable[[Any], Array]) -> Steps:
    """Reads one step from references of many."""
    a, b = (tuple(at(ref).astype(jnp.float32) for ref in part) for part in refs[:2])
    return Steps(a, b, None if refs.restart is None else at(refs.restart) != 0)


def _specs(steps: Steps, wide_spec: Any, flag_spec: Any) -> Steps:
    flags = None if steps.restart is None else flag_spec
    return Steps((wide_spec,) * len(steps.a), (wide_spec,) * len(steps.b), flags)


def _shapes(steps: Steps) -> tuple[Any, ...]:
    """Returns the types of the states; they vary over devices as all steps do."""
    return jax.eval_shape(lambda: tuple(b + 0 * steps.a[0] for b in steps.b))
