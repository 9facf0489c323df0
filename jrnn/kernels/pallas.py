"""The recurrence of a gated cell as one kernel that keeps its weights on the chip.

A compiled loop of JAX reads the recurrent kernel from memory at every step. Here the
steps are the grid of one Pallas kernel: blocks that are the same at every step, the
weights and the carried state, are read once and stay. It is written for TPUs, whose
grids run in order; on a CPU it is interpreted, for tests. The derivative is that of the
gated kernel, which runs again for it, in reverse mode alone.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jrnn.kernels import gated, plain
from jrnn.kernels.plain import Inputs, Options, Trajectory, project
from jrnn.types import Array, Cell, GatedCell, Params, State


def refusal(cell: Cell, inputs: Inputs, options: Options) -> str | None:
    """Returns why this kernel cannot run a cell, or None where it can."""
    del options
    backend = jax.default_backend()
    if backend not in ("tpu", "cpu"):
        return f"needs a TPU, and JAX runs on {backend}"
    if not isinstance(cell, GatedCell):
        return f"needs a cell with `update` and `combine`, which {cell} has not"
    axes = {leaf.ndim - cell.feature_axes for leaf in jax.tree.leaves(inputs.xs)}
    if axes != {2}:
        return "needs one batch axis: xs [batch, time, features]"
    return None


def run(
    cell: GatedCell,
    params: Params,
    state: State,
    fresh: State,
    inputs: Inputs,
    options: Options,
) -> Trajectory:
    """Runs a gated cell along time; what `plain.run` takes and returns."""
    return _run(cell, params, state, fresh, inputs, options)


def _compute(
    cell: GatedCell,
    params: Params,
    state: State,
    fresh: State,
    inputs: Inputs,
    options: Options,
) -> Trajectory:
    us = project(cell, params, inputs)
    time, batch = jax.tree.leaves(inputs.xs)[0].shape[:2]
    if not time or not batch:
        return plain.run(cell, params, state, fresh, inputs, options)
    final, states = _loop(cell, params, state, fresh, us, inputs, options)
    ys = cell.read(params, states, us) if options.outputs else None
    return Trajectory(final, states if options.states else None, ys)


def _forward(
    cell: GatedCell,
    params: Params,
    state: State,
    fresh: State,
    inputs: Inputs,
    options: Options,
) -> Any:
    saved = (params, state, fresh, inputs)
    return _run(cell, params, state, fresh, inputs, options), saved


def _backward(cell: GatedCell, options: Options, saved: Any, gradient: Any) -> Any:
    def define(params: Params, state: State, fresh: State, inputs: Inputs) -> Any:
        return gated.run(cell, params, state, fresh, inputs, options)

    return jax.vjp(define, *saved)[1](gradient)


_run: Any = jax.custom_vjp(_compute, nondiff_argnums=(0, 5))
_run.defvjp(_forward, _backward)


def _loop(
    cell: GatedCell,
    params: Params,
    state: State,
    fresh: State,
    us: Any,
    inputs: Inputs,
    options: Options,
) -> tuple[State, State | None]:
    """Returns the final state, and the states [T, B, ...] where something needs them.

    The grid is time. Blocks of `whole` are the same at every step and stay on the chip;
    the final state is one of them, and carries the state from step to step.
    """
    flags = jax.tree.map(_as_block, (inputs.keep, inputs.restart))
    new = fresh if inputs.restart is not None else None
    whole = (cell.recurrent_kernel(params), _used(cell, params, state, us), state, new)
    ins, tree = jax.tree.flatten((whole, (us, flags)))
    time = jax.tree.leaves(us)[0].shape[0]
    stacked = [time] if options.outputs or options.states else []
    results = [_shapes(state, *lead) for lead in ([], *([n] for n in stacked))]
    out_shapes, out_tree = jax.tree.flatten(results)

    def kernel(*refs: Any) -> None:
        (kept, slices) = jax.tree.unflatten(tree, refs[: len(ins)])
        carried, *stack = jax.tree.unflatten(out_tree, refs[len(ins) :])

        @pl.when(pl.program_id(0) == 0)
        def _() -> None:
            _write(carried, _read(kept[2]))

        after = _step(cell, _read(kept), _read(carried), _read(slices, 0))
        _write(carried, after)
        for states in stack:
            _write(states, after, 0)

    moving = functools.partial(_moving, reverse=options.reverse)
    outs = pl.pallas_call(
        kernel,
        grid=(time,),
        in_specs=[*map(_resting, jax.tree.leaves(whole))]
        + [*map(moving, jax.tree.leaves((us, flags)))],
        out_specs=[*map(_resting, jax.tree.leaves(results[:1]))]
        + [*map(moving, jax.tree.leaves(results[1:]))],
        out_shape=out_shapes,
        interpret=jax.default_backend() == "cpu",
    )(*ins)
    final, *states = jax.tree.unflatten(out_tree, outs)
    return final, states[0] if states else None


def _step(cell: GatedCell, kept: Any, state: State, slices: Any) -> State:
    """Takes one step: every array is [B, ...]."""
    weights, params, _, fresh = kept
    u, (keep, restart) = slices
    old = state if restart is None else _choose(restart, fresh, state)
    v = cell.hidden(old) @ weights
    new = cell.update(params, old, cell.combine(params, u, v))
    return new if keep is None else _choose(keep, new, state)


def _used(cell: GatedCell, params: Params, state: State, us: Any) -> Params:
    """Puts None for parameters that steps do not use, such as the input kernel."""

    def step(params: Params, weights: Array, state: State, u: Any) -> State:
        return _step(cell, (weights, params, None, None), state, (u, (None, None)))

    first = jax.tree.map(lambda leaf: leaf[0], us)
    weights = cell.recurrent_kernel(params)
    jaxpr = jax.make_jaxpr(step)(params, weights, state, first).jaxpr
    read = [id(v) for equation in jaxpr.eqns for v in equation.invars]
    leaves, structure = jax.tree.flatten(params)
    pairs = zip(leaves, jaxpr.invars, strict=False)
    return jax.tree.unflatten(
        structure, [leaf if id(v) in read else None for leaf, v in pairs]
    )


def _as_block(flags: Array) -> Array:
    """Makes flags [T, B] integers [T, B, 1]: blocks hold no booleans and two axes."""
    return flags[..., None].astype(jnp.int32)


def _choose(flags: Array, on_true: Any, on_false: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(flags != 0, a, b), on_true, on_false)


def _shapes(tree: Any, *lead: int) -> Any:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((*lead, *leaf.shape), leaf.dtype), tree
    )


def _resting(leaf: Any) -> pl.BlockSpec:
    """The same block at every step: all of the array."""
    return pl.BlockSpec(leaf.shape, lambda t: (0,) * len(leaf.shape))


def _moving(leaf: Any, reverse: bool) -> pl.BlockSpec:
    """The slice of an array [T, ...] that belongs to a step."""
    time, *rest = leaf.shape
    at = (lambda t: time - 1 - t) if reverse else (lambda t: t)
    return pl.BlockSpec((1, *rest), lambda t: (at(t), *[0] * len(rest)))


def _read(refs: Any, *index: int) -> Any:
    return jax.tree.map(lambda ref: ref[index or ...], refs)


def _write(refs: Any, values: Any, *index: int) -> None:
    for ref, value in zip(jax.tree.leaves(refs), jax.tree.leaves(values), strict=True):
        ref[index or ...] = value
