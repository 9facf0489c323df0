"""The recurrence of a gated cell as one kernel that keeps its weights on the chip.

A compiled loop of JAX reads the recurrent weights from memory at every step. Here the
steps are the grid of one Pallas kernel: blocks that are the same at every step, the
weights and the carried state, are read once and stay. It is written for TPUs, whose
grids run in order; on a CPU it is interpreted, for tests. The derivative is that of the
gated kernel, which recomputes the forward pass.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jrnn import forms
from jrnn.kernels.base import Inputs, Loop, Options, Trajectory, project
from jrnn.kernels.gated import Gated
from jrnn.kernels.scan import Scan
from jrnn.types import Array, Cell, Params, State
from jrnn.values import value


@value
class Pallas:
    """Runs a gated cell as one TPU kernel; interpreted on a CPU.

    Its gradient is that of `Gated`, in reverse mode only.
    """

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Says why this kernel cannot run a cell; None where it can."""
        del options
        backend, form = jax.default_backend(), cell.form
        if backend not in ("tpu", "cpu"):
            return f"needs a TPU, and JAX runs on {backend}"
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
        return _run(cell, loop, options)


def _compute(cell: Cell, loop: Loop, options: Options) -> Trajectory:
    us = project(cell, loop.params, loop.inputs)
    time, batch = jax.tree.leaves(loop.inputs.xs)[0].shape[:2]
    if not time or not batch:
        return Scan().run(cell, loop, options)
    final, states = _loop(cell.form, loop, us, options)
    ys = cell.read(loop.params, states, us) if options.outputs else None
    return Trajectory(final, states if options.states else None, ys)


def _forward(cell: Cell, loop: Loop, options: Options) -> Any:
    return _run(cell, loop, options), loop


def _backward(cell: Cell, options: Options, loop: Loop, gradient: Any) -> Any:
    return jax.vjp(lambda loop: Gated().run(cell, loop, options), loop)[1](gradient)


_run: Any = jax.custom_vjp(_compute, nondiff_argnums=(0, 2))
_run.defvjp(_forward, _backward)


def _loop(
    form: Any, loop: Loop, us: Any, options: Options
) -> tuple[State, State | None]:
    """Returns the final state, and the states [T, B, ...] where something needs them.

    The grid is time. Blocks of `whole` are the same at every step and stay on the chip;
    the final state is one of them, and carries the state from step to step.
    """
    params, state, fresh, inputs = loop
    flags = jax.tree.map(_as_block, (inputs.keep, inputs.restart))
    new = fresh if inputs.restart is not None else None
    whole = (form.recurrent(params), _used(form, params, state, us), state, new)
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

        after = _step(form, _read(kept), _read(carried), _read(slices, 0))
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


def _step(form: Any, kept: Any, state: State, slices: Any) -> State:
    """Takes one step: every array is [B, ...]."""
    recurrent, params, _, fresh = kept
    u, (keep, restart) = slices
    old = state if restart is None else _choose(restart, fresh, state)
    v = recurrent(form.seen(params, old))
    new = form.update(params, old, form.combine(params, u, v))
    return new if keep is None else _choose(keep, new, state)


def _used(form: Any, params: Params, state: State, us: Any) -> Params:
    """Replaces parameters that steps do not use, such as the input weights, by None."""

    def step(params: Params, recurrent: Any, state: State, u: Any) -> State:
        return _step(form, (recurrent, params, None, None), state, (u, (None, None)))

    first = jax.tree.map(lambda leaf: leaf[0], us)
    jaxpr = jax.make_jaxpr(step)(params, form.recurrent(params), state, first).jaxpr
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
    for ref, new in zip(jax.tree.leaves(refs), jax.tree.leaves(values), strict=True):
        ref[index or ...] = new
