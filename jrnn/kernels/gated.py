"""The recurrence of gated cells, with most of its derivative outside of the loop.

    p = combine(u, v),    v = hidden(state) W,    state' = update(state, p)

Values come from the plain scan. The derivative is written so that the loop holds only
what depends on the step before:

    dp = combine'(du, hidden(state) dW) + combine'(hidden(dstate) W)

Nothing in the first term waits for an earlier tangent: it is one product for a whole
chunk of time steps. Transposed by JAX, for gradients, it is the gradient of W, and that
of the input kernel beside it, as one product per chunk; the plain scan adds to both in
every step. The derivatives of `update` are those of JAX, recomputed in the backward
loop from the states and the pre-activations p, the only values kept.

All of it is ordinary JAX behind `jax.custom_jvp`, so that forward mode, reverse mode
and derivatives of higher order work.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jrnn.kernels import chunks, layouts, plain
from jrnn.kernels.plain import Inputs, Options, Trajectory
from jrnn.masks import where
from jrnn.types import Array, Cell, GatedCell, Params, State

Tape = tuple[State, Any]  # [T, *batch, ...] state before each step, pre-activations


def refusal(cell: Cell, inputs: Inputs, options: Options) -> str | None:
    """Says why this kernel cannot run a cell; None where it can."""
    del inputs, options
    if not isinstance(cell, GatedCell):
        return f"needs the methods of `jrnn.GatedCell`, which {cell} does not have"
    return None


def run(
    cell: GatedCell,
    params: Params,
    state: State,
    fresh: State,
    inputs: Inputs,
    options: Options,
) -> Trajectory:
    """Computes what `plain.run` computes, for a `GatedCell`."""
    if jax.tree.leaves(inputs.xs)[0].shape[0] < 2:  # no loop
        return plain.run(cell, params, state, fresh, inputs, options)
    return _run(cell, options, params, state, fresh, inputs)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _run(
    cell: GatedCell,
    options: Options,
    params: Params,
    state: State,
    fresh: State,
    inputs: Inputs,
) -> Trajectory:
    return _record(cell, options, params, state, fresh, inputs, taped=False)[0]


def _differentiate(
    cell: GatedCell, options: Options, primals: Any, tangents: Any
) -> tuple[Trajectory, Trajectory]:
    out, tape = _record(cell, options, *primals)
    return out, _push(cell, options, primals, tangents, tape)


_run.defjvp(_differentiate, symbolic_zeros=True)


def _record(
    cell: GatedCell,
    options: Options,
    params: Params,
    state: State,
    fresh: State,
    inputs: Inputs,
    taped: bool = True,
) -> tuple[Trajectory, Tape | None]:
    """Runs the cell and keeps what derivatives need, chunk by chunk."""
    layout = layouts.choose(cell, params, inputs)
    fresh, state = layout.inside((fresh, state))
    multiply = layout.product(cell.recurrent_kernel(params))

    def step(fresh: State, state: State, slices: Any) -> tuple[State, Any]:
        u, keep, restart = slices
        start = state if restart is None else where(restart, fresh, state)
        p = cell.combine(params, u, multiply(cell.hidden(start)))
        p = jax.lax.optimization_barrier(p) if taped else p  # to use and to keep
        new = cell.update(params, start, p)
        new = new if keep is None else where(keep, new, state)
        return new, (new, (start, p) if taped else None)

    body = functools.partial(layout.batched(step), fresh)

    def chunk(state: State, inputs: Inputs) -> tuple[State, Any]:
        us = plain.project(cell, params, inputs)
        slices = (layout.inside(us, 1), inputs.keep, inputs.restart)
        state, (states, tape) = plain.unroll(body, state, slices, options)
        states = layout.outside(states, 1)
        ys = cell.read(params, states, us) if options.outputs else None
        return state, ((states if options.states else None, ys), tape)

    parts = chunks.cut(inputs, layout.ahead)
    final, parts = chunks.scan(chunk, state, parts, options)
    (states, ys), tape = chunks.join(parts)
    return Trajectory(layout.outside(final), states, ys), tape


def _push(
    cell: GatedCell, options: Options, primals: Any, tangents: Any, tape: Any
) -> Trajectory:
    """Returns the tangents of a recorded run; linear in the tangents given."""
    params, state, fresh, inputs = primals
    dparams, dstate, dfresh, dinputs = tangents
    dstate, dfresh = jax.tree.map(_instantiate, (state, fresh), (dstate, dfresh))
    varies, dparams = _varying(dparams)
    varies_xs, dxs = _varying(dinputs.xs)
    vary = _pick(params, varies)
    layout = layouts.choose(cell, params, inputs)
    dstate, dfresh = layout.inside((dstate, dfresh))
    multiply = layout.tangent_product(cell.recurrent_kernel(params))

    def chunk(dstate: State, slices: Any) -> tuple[State, Any]:
        inputs, dxs, (starts, ps) = slices

        def before_loop(vary: list[Array], xs: list[Array]) -> Any:
            varied = _put(params, varies, vary)
            moved = inputs._replace(xs=_put(inputs.xs, varies_xs, xs))
            us = _project(cell, varied, moved)
            hs = cell.hidden(layout.outside(starts, 1))
            vs = _product(hs, cell.recurrent_kernel(varied))
            return us, vs, cell.combine(varied, us, vs)

        at, along = (vary, _pick(inputs.xs, varies_xs)), (dparams, dxs)
        (us, vs, _), (dus, _, dps) = jax.jvp(before_loop, at, along)

        # Transposed, it computes `update` again in the backward loop.
        again = jax.checkpoint(layout.batched(step), prevent_cse=False)
        body = functools.partial(again, dfresh)
        us_vs, dps = layout.inside(((us, vs), dps), 1)
        loop = ((*us_vs, starts, ps), dps, inputs.keep, inputs.restart)
        dstate, dstates = plain.unroll(body, dstate, loop, options)
        dstates = layout.outside(dstates, 1)
        dys = None
        if options.outputs:
            after = cell.update(params, *layout.outside((starts, ps), 1))
            _, dys = jax.jvp(read, (vary, after, us), (dparams, dstates, dus))
        return dstate, (dstates if options.states else None, dys)

    def step(dfresh: State, dstate: State, slices: Any) -> tuple[State, State]:
        (u, v, start, p), dp, keep, restart = slices
        dstart = dstate if restart is None else where(restart, dfresh, dstate)
        _, dh = jax.jvp(cell.hidden, (start,), (dstart,))
        combine = functools.partial(cell.combine, params, u)
        _, dp_h = jax.jvp(combine, (v,), (multiply(dh),))
        dp = jax.tree.map(jnp.add, dp, dp_h)
        _, dnew = jax.jvp(update, (vary, start, p), (dparams, dstart, dp))
        dnew = dnew if keep is None else where(keep, dnew, dstate)
        return dnew, dnew

    def update(vary: list[Array], state: State, p: Any) -> State:
        return cell.update(_put(params, varies, vary), state, p)

    def read(vary: list[Array], states: State, us: Any) -> Array:
        return cell.read(_put(params, varies, vary), states, us)

    parts = chunks.cut((inputs, dxs, tape), layout.chunk)
    dstate, parts = chunks.scan(chunk, dstate, parts, options)
    return Trajectory(layout.outside(dstate), *chunks.join(parts))


def _project(cell: GatedCell, params: Params, inputs: Inputs) -> Any:
    """Projects a chunk, as rows of one matrix where that is allowed.

    XLA transposes a copy of the cotangents before it sums over two axes.
    """
    if inputs.keys is not None:  # masks may have batch axes
        return plain.project(cell, params, inputs)
    return _by_rows(lambda xs: cell.project(params, xs), inputs.xs)


def _product(a: Array, b: Array) -> Array:
    """Multiplies [T, *batch, H] by [H, K]."""
    return _by_rows(lambda rows: rows @ b, a)


def _by_rows(function: Callable[[Any], Any], tree: Any) -> Any:
    """Applies a function of vectors to leaves [T, *batch, F], as one matrix [rows, F].

    Only where no device holds a part of the batch: with one device, or inside of
    `shard_map`. A merged axis cannot be divided the way that the batch is.
    """
    kinds = jax.sharding.AxisType
    alone = layouts.meshed(kinds.Manual) or jax.device_count() == 1
    if not alone or layouts.meshed(kinds.Auto, kinds.Explicit):
        return function(tree)
    axes = jax.tree.leaves(tree)[0].shape[:-1]
    number = math.prod(axes)
    rows = jax.tree.map(lambda a: a.reshape(number, a.shape[-1]), tree)
    return jax.tree.map(lambda a: a.reshape(*axes, *a.shape[1:]), function(rows))


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _instantiate(primal: Array, tangent: Any) -> Array:
    """Returns the tangent as an array that lies where its primal does."""
    if not _is_zero(tangent):
        return tangent
    return jnp.where(False, primal, jnp.zeros_like(primal))


def _varying(tangents: Any) -> tuple[list[bool], list[Array]]:
    """Returns which leaves have a tangent, and these tangents."""
    leaves = jax.tree.leaves(tangents, is_leaf=_is_zero)
    flags = [not _is_zero(leaf) for leaf in leaves]
    return flags, [leaf for leaf in leaves if not _is_zero(leaf)]


def _pick(tree: Any, flags: list[bool]) -> list[Array]:
    """Returns the flagged leaves of a tree."""
    return [a for a, flag in zip(jax.tree.leaves(tree), flags, strict=True) if flag]


def _put(tree: Any, flags: list[bool], picked: list[Array]) -> Any:
    """Returns the tree with its flagged leaves replaced."""
    leaves, structure = jax.tree.flatten(tree)
    fill = iter(picked)
    merged = [next(fill) if f else a for a, f in zip(leaves, flags, strict=True)]
    return jax.tree.unflatten(structure, merged)
