"""The recurrence of a gated cell as one kernel that keeps its weights on the chip.

A compiled loop of JAX reads the recurrent weights from memory at every step. Here the
grid of one Pallas kernel is blocks of the batch, and for each of them the steps: blocks
of arrays that are the same at every step, the weights and the carried state, are read
once and stay. It is written for TPUs, whose grids run in order; for a CPU it is
interpreted, for tests. The derivative is that of the gated kernel, which recomputes the
forward pass.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jrnn import forms
from jrnn.kernels.base import Inputs, Loop, Options, Trajectory, only_on, project
from jrnn.kernels.gated import Gated
from jrnn.kernels.scan import Scan
from jrnn.linear_maps import Matmul
from jrnn.types import Array, Cell, Params, State
from jrnn.values import value


@value
class Pallas:
    """Runs a gated cell as one TPU kernel; interpreted for a CPU.

    Its gradient is that of `Gated`, in reverse mode only.

    Attributes:
      memory: Bytes of on-chip vector memory that it may use. The kernel splits the
        batch into blocks that fit beside the weights, and refuses weights that leave no
        room.
        A core of TPU v5p and v7x has 64 MiB, one of v5e and v6e 128 MiB, according to
        `jax.experimental.pallas.tpu.get_tpu_info`; an eighth is left to the compiler.
    """

    memory: int = 56 * 2**20

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Says why this kernel cannot run a cell; None where it can."""
        del options
        form = cell.form
        if not isinstance(form, forms.Gated) or form.around is not forms.directly:
            return (
                "needs a cell whose form is `jrnn.forms.Gated` and that no wrapper "
                f"intervenes in, unlike {cell}"
            )
        axes = {leaf.ndim - cell.feature_axes for leaf in jax.tree.leaves(inputs.xs)}
        if axes != {2} or cell.feature_axes != 1:
            return "needs vectors with one batch dimension: xs [batch, time, features]"
        return None

    def run(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs a gated cell along time."""
        return _run(cell, loop, options, self.memory)


def _compute(cell: Cell, loop: Loop, options: Options, memory: int) -> Trajectory:
    us = project(cell, loop.params, loop.inputs)
    time, batch = jax.tree.leaves(loop.inputs.xs)[0].shape[:2]
    if not time or not batch:
        return Scan().run(cell, loop, options)
    final, states = _loop(cell.form, loop, us, options, memory)
    ys = cell.read(loop.params, states, us) if options.outputs else None
    return Trajectory(final, states if options.states else None, ys)


def _forward(cell: Cell, loop: Loop, options: Options, memory: int) -> Any:
    return _run(cell, loop, options, memory), loop


def _backward(
    cell: Cell, options: Options, memory: int, loop: Loop, gradient: Any
) -> Any:
    del memory
    return jax.vjp(lambda loop: Gated().run(cell, loop, options), loop)[1](gradient)


_run: Any = jax.custom_vjp(_compute, nondiff_argnums=(0, 2, 3))
_run.defvjp(_forward, _backward)


def _loop(
    form: Any, loop: Loop, us: Any, options: Options, memory: int
) -> tuple[State, State | None]:
    """Returns the final state, and the states [T, B, ...] if something needs them.

    The grid is blocks of the batch, then time. The final state is one block for all
    steps, and carries the state from step to step.
    """
    params, state, fresh, inputs = loop
    flags = jax.tree.map(_as_block, (inputs.keep, inputs.restart))
    new = fresh if inputs.restart is not None else None
    weights = (form.recurrent(params), _used(form, params, state, us))
    ranks = jax.tree.map(jnp.ndim, weights)
    weights = jax.tree.map(_as_matrix, weights)
    ins = (weights, (state, new), (us, flags))
    time, batch = jax.tree.leaves(us)[0].shape[:2]
    stacked = [time] if options.outputs or options.states else []
    outs = [_shapes(state, *lead) for lead in ([], *([n] for n in stacked))]
    rows = _rows(batch, weights, (state, new, outs[:1]), (us, flags, outs[1:]), memory)
    call = functools.partial(
        _call, form, ranks, (time, batch, rows), options, memory, outs
    )
    (first, *others), tree = jax.tree.flatten(ins)
    first = only_on(("tpu", "cpu"), "pallas", "needs a TPU", first)
    ins = jax.tree.unflatten(tree, [first, *others])
    final, *states = jax.lax.platform_dependent(
        ins, tpu=call, default=functools.partial(call, interpret=True)
    )
    return final, states[0] if states else None


def _call(
    form: Any,
    ranks: Any,
    sizes: tuple[int, int, int],
    options: Options,
    memory: int,
    outs: list[Any],
    ins: Any,
    interpret: bool = False,
) -> Any:
    """Calls the kernel, compiled or interpreted."""
    time, batch, rows = sizes

    def at(t: Any) -> Any:
        return time - 1 - t if options.reverse else t

    def whole(leaf: Any) -> pl.BlockSpec:
        zeros = (0,) * leaf.ndim
        once = pl.Buffered(1)  # it never changes
        return pl.BlockSpec(leaf.shape, lambda b, t: zeros, pipeline_mode=once)

    def resting(leaf: Any) -> pl.BlockSpec:
        rest = leaf.shape[1:]
        return pl.BlockSpec((rows, *rest), lambda b, t: (b, *[0] * len(rest)))

    def moving(leaf: Any) -> pl.BlockSpec:
        rest = leaf.shape[2:]
        return pl.BlockSpec((1, rows, *rest), lambda b, t: (at(t), b, *[0] * len(rest)))

    def kernel(weights: Any, states: Any, slices: Any, *outs: Any) -> None:
        first, new = states
        carried, *stack = outs

        @pl.when(pl.program_id(1) == 0)
        def _() -> None:
            _write(carried, _read(first))

        kept = (*jax.tree.map(_of_rank, ranks, weights), _read(new))
        after = _step(form, kept, _read(carried), _read(slices, 0))
        _write(carried, after)
        for ref in stack:
            _write(ref, after, 0)

    kinds = (whole, resting, moving)
    specs = [jax.tree.map(kind, part) for kind, part in zip(kinds, ins, strict=True)]
    out_kinds = (resting, moving)
    return pl.pallas_call(
        kernel,
        grid=(pl.cdiv(batch, rows), time),
        in_specs=specs,
        out_specs=[
            jax.tree.map(kind, part)
            for kind, part in zip(out_kinds, outs, strict=False)
        ],
        out_shape=outs,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"),
            vmem_limit_bytes=memory * 8 // 7,
        ),
        interpret=interpret,
    )(*ins)


def _rows(batch: int, weights: Any, resting: Any, moving: Any, memory: int) -> int:
    """Returns the number of rows in a block of the batch, by what fits on the chip.

    Blocks of several rows are whole tiles, of 32 rows in any dtype. The chip holds one
    of the weights, and two of everything else: it fetches the next one meanwhile. The
    step needs about as much again for its temporary values, in float32.

    Raises:
      ValueError: if not even a small block fits.
    """
    fixed = sum(_bytes(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(weights))

    def blocks(rows: int) -> int:
        shapes = [(leaf, leaf.shape[1:]) for leaf in jax.tree.leaves(resting)]
        shapes += [(leaf, leaf.shape[2:]) for leaf in jax.tree.leaves(moving)]
        kept = sum(2 * _bytes((rows, *rest), leaf.dtype) for leaf, rest in shapes)
        return kept + sum(_bytes((rows, *rest), jnp.float32) for _, rest in shapes)

    sizes = [batch, *(n for n in (512, 256, 128, 64, 32) if n < batch)]
    for rows in sizes:
        if rows <= 512 and fixed + blocks(rows) <= memory:
            return rows
    raise ValueError(
        f"method='pallas' keeps the recurrent weights ({fixed} bytes) and a block of "
        f"{sizes[-1]} rows ({blocks(sizes[-1])} bytes) on the chip, and may use "
        f"{memory} bytes. Use method='auto', fewer units or "
        "bfloat16, or with more memory `jrnn.kernels.Pallas(memory=...)`."
    )


def _bytes(shape: tuple[int, ...], dtype: Any) -> int:
    """Returns the bytes of an array in tiles of 8 x 128 words of 32 bits."""
    *lead, rows, columns = (1, 1, *shape)
    size = jnp.dtype(dtype).itemsize
    high = max(32 // size, 8)
    tiles = math.prod(lead) * -(-rows // high) * -(-columns // 128)
    return tiles * high * 128 * size


def _step(form: Any, kept: Any, state: State, slices: Any) -> State:
    """Takes one step: every array is [B, ...]."""
    recurrent, params, fresh = kept
    u, (keep, restart) = slices
    old = state if restart is None else _choose(restart, fresh, state)
    v = _multiply(recurrent, form.seen(params, old))
    new = form.update(params, old, form.combine(params, u, v))
    return new if keep is None else _choose(keep, new, state)


def _used(form: Any, params: Params, state: State, us: Any) -> Params:
    """Replaces parameters that steps do not use, such as the input weights, by None."""

    def step(params: Params, recurrent: Any, state: State, u: Any) -> State:
        return _step(form, (recurrent, params, None), state, (u, (None, None)))

    first = jax.tree.map(lambda leaf: leaf[0], us)
    jaxpr = jax.make_jaxpr(step)(params, form.recurrent(params), state, first).jaxpr
    read = [id(v) for equation in jaxpr.eqns for v in equation.invars]
    leaves, structure = jax.tree.flatten(params)
    pairs = zip(leaves, jaxpr.invars, strict=False)
    return jax.tree.unflatten(
        structure, [leaf if id(v) in read else None for leaf, v in pairs]
    )


def _multiply(recurrent: Any, h: Array) -> Array:
    """Applies a linear map; the matrix unit accumulates half precision in float32."""
    if not isinstance(recurrent, Matmul) or h.dtype == jnp.float64:
        return recurrent(h)
    v = jnp.dot(h, recurrent.w, preferred_element_type=jnp.float32)
    return v.astype(jnp.result_type(h, recurrent.w))


def _as_matrix(leaf: Array) -> Array:
    """Makes vectors matrices of one row: the layout of vectors differs by TPU."""
    return leaf.reshape(1, -1) if leaf.ndim < 2 else leaf


def _of_rank(rank: int, ref: Any) -> Array:
    """Reads a matrix as what it was made of."""
    return ref[(0,) * (2 - rank) or ...]


def _as_block(flags: Array) -> Array:
    """Makes flags [T, B] integers [T, B, 1]: blocks hold no booleans and two axes."""
    return flags[..., None].astype(jnp.int32)


def _choose(flags: Array, on_true: Any, on_false: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(flags != 0, a, b), on_true, on_false)


def _shapes(tree: Any, *lead: int) -> Any:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((*lead, *leaf.shape), leaf.dtype), tree
    )


def _read(refs: Any, *index: int) -> Any:
    return jax.tree.map(lambda ref: ref[index or ...], refs)


def _write(refs: Any, values: Any, *index: int) -> None:
    for ref, new in zip(jax.tree.leaves(refs), jax.tree.leaves(values), strict=True):
        ref[index or ...] = new
