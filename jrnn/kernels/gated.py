"""The recurrence of gated cells, with most of its derivative outside of the loop.

    p = combine(u, v),    v = hidden(state) W,    state' = update(state, p)

Values equal those of the plain scan. The derivative is written so that the loop holds
only what depends on the step before:

    dp = combine'(du, hidden(state) dW) + combine'(hidden(dstate) W)

Nothing in the first term waits for an earlier tangent: it is one product for a whole
chunk of time steps. Transposed by JAX, for gradients, it is the gradient of W, and that
of the input kernel beside it, as one product per chunk; the plain scan adds to both in
every step. Nor does the derivative of `update` wait: JAX linearises it for all steps of
a chunk at once, and the loop multiplies by the factors. Only the states are kept from
the forward pass, and the pre-activations where that is faster than to compute them
again.

All of it is ordinary JAX behind `jax.custom_jvp`, so that forward mode, reverse mode
and derivatives of higher order work. A run that keeps what its derivative needs has a
rule of its own: it writes in place, which no derivative should pass through, and second
derivatives are those of the same loop with its steps stacked.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells.affine import side_by_side
from jrnn.kernels import chunks, layouts, plain, rows, trees
from jrnn.kernels.plain import Inputs, Options, Trajectory
from jrnn.masks import where
from jrnn.types import Array, Cell, GatedCell, Params, State, foremost

Preactivate = Callable[[Array, Any, Array], Any]  # of x, its projection and h
Tape = tuple[State, Any]  # [T, *batch, ...] state after each step, pre-activations


def refusal(cell: Cell, inputs: Inputs, options: Options) -> str | None:
    """Says why this kernel cannot run a cell; None where it can."""
    del inputs, options
    if not isinstance(cell, GatedCell):
        return f"needs the methods of `jrnn.GatedCell`, which {cell} does not have"
    if foremost(cell, "step", "update", "combine") == {"step"}:
        return f"never calls the `step` that {cell} has in place of its base's"
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
    primals = (params, state, fresh, inputs)
    out, _ = _record(cell, options, *primals, in_place=True, taped=False)
    return out


def _differentiate(
    cell: GatedCell, options: Options, primals: Any, tangents: Any
) -> tuple[Trajectory, Trajectory]:
    out, tape = _recorded(cell, options, *primals)
    return out, _push(cell, options, primals, tangents, tape)


_run.defjvp(_differentiate, symbolic_zeros=True)


def _record(
    cell: GatedCell,
    options: Options,
    params: Params,
    state: State,
    fresh: State,
    inputs: Inputs,
    *,
    in_place: bool,
    taped: bool = True,
) -> tuple[Trajectory, Tape | None]:
    """Runs the cell and keeps what derivatives need."""
    layout = layouts.choose(cell, params, inputs)
    preactivate = (_jointly if layout.joint else _separately)(cell, params)

    def project(inputs: Inputs) -> Any:
        return plain.project(cell, params, inputs)

    def step(state: State, slices: tuple[Inputs, Any]) -> tuple[State, Any]:
        (x, _, keep, restart), u = slices
        start = plain.restarted(state, fresh, restart)
        p = preactivate(x, u, cell.hidden(start))
        new = cell.update(params, start, p)
        new = new if keep is None else where(keep, new, state)
        kept = new if taped or options.states or options.outputs else None
        return new, (kept, p if taped and layout.keep else None)

    time = jax.tree.leaves(inputs.xs)[0].shape[0]
    size = time if layout.joint else layout.chunk  # jointly, nothing is done ahead
    final, (states, ps), us = chunks.loop(
        project, step, state, inputs, size, options, in_place=in_place
    )
    ys = cell.read(params, states, us) if options.outputs else None
    out = Trajectory(final, states if options.states else None, ys)
    return out, (states, ps) if taped else None


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _recorded(
    cell: GatedCell, options: Options, *primals: Any
) -> tuple[Trajectory, Tape | None]:
    """Records in place, which `_differentiate_recorded` differentiates."""
    return _record(cell, options, *primals, in_place=True)


def _differentiate_recorded(
    cell: GatedCell, options: Options, primals: Any, tangents: Any
) -> tuple[Any, Any]:
    """Differentiates the same with its steps stacked, for second derivatives."""
    varies, tangents = trees.varying(tangents)

    def record(vary: list[Array]) -> tuple[Trajectory, Tape | None]:
        varied = trees.put(primals, varies, vary)
        return _record(cell, options, *varied, in_place=False)

    return jax.jvp(record, (trees.pick(primals, varies),), (tangents,))


_recorded.defjvp(_differentiate_recorded, symbolic_zeros=True)


def _separately(cell: GatedCell, params: Params) -> Preactivate:
    """Returns the pre-activations of a step whose input is projected."""
    kernel = cell.recurrent_kernel(params)
    return lambda x, u, h: cell.combine(params, u, h @ kernel)


def _jointly(cell: Any, params: Params) -> Preactivate:
    """Returns the same for an `AdditiveCell`, by one product for input and state."""
    w_x = cell.input_kernel(params)
    kernel = jnp.concatenate([w_x, cell.recurrent_kernel(params)])
    biases = cell.project(params, jnp.zeros_like(w_x[:, 0]))

    def preactivate(x: Array, u: Any, h: Array) -> Any:
        del u  # never computed
        return cell.combine(params, biases, jnp.concatenate([x, h], axis=-1) @ kernel)

    return preactivate


def _push(
    cell: GatedCell, options: Options, primals: Any, tangents: Any, tape: Any
) -> Trajectory:
    """Returns the tangents of a recorded run; linear in the tangents given."""
    params, state, fresh, inputs = primals
    dparams, dstate, dfresh, dinputs = tangents
    dstate, dfresh = jax.tree.map(trees.instantiate, (state, fresh), (dstate, dfresh))
    varies, dparams = trees.varying(dparams)
    varies_xs, dxs = trees.varying(dinputs.xs)
    vary = trees.pick(params, varies)
    # The backward loop multiplies by this as it lies; to contract the leading axis of a
    # matrix in every step takes up to ten times as long.
    transposed = cell.recurrent_kernel(params).T

    # For the backward pass nothing of this is kept: it is computed again, by chunks.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def chunk(dstate: State, slices: Any) -> tuple[State, Any]:
        first, (inputs, dxs, merged) = slices
        states, ps = unmerge(merged)
        starts = _states_before(first, states, options.reverse)
        starts = plain.restarted(starts, fresh, inputs.restart)

        def before_loop(vary: list[Array], xs: list[Array]) -> Any:
            varied = trees.put(params, varies, vary)
            moved = inputs._replace(xs=trees.put(inputs.xs, varies_xs, xs))
            us = _project(cell, varied, moved)
            vs = _product(cell.hidden(starts), cell.recurrent_kernel(varied))
            return us, vs, cell.combine(varied, us, vs)

        at, along = (vary, trees.pick(inputs.xs, varies_xs)), (dparams, dxs)
        (us, vs, computed), (dus, _, dps) = jax.jvp(before_loop, at, along)
        updates = jax.vmap(linear_update)(starts, computed if ps is None else ps)
        dps, part = side_by_side(dps, vs.ndim)  # written as one array
        step = functools.partial(one_step, part)
        loop = (updates, us, vs, starts, dps, inputs.keep, inputs.restart)
        dstate, dstates = plain.unroll(step, dstate, loop, options)
        dys = None
        if options.outputs:
            _, dys = jax.jvp(read, (vary, states, us), (dparams, dstates, dus))
        return dstate, (dstates if options.states else None, dys)

    def linear_update(start: State, p: Any) -> Any:
        """Returns the linear part of `update`, a tree of arrays."""

        def update(vary: list[Array], state: State, p: Any) -> State:
            return cell.update(trees.put(params, varies, vary), state, p)

        return jax.linearize(update, vary, start, p)[1]

    def one_step(part: Any, dstate: State, slices: Any) -> tuple[State, State]:
        linear, u, v, start, dp, keep, restart = slices
        dstart = plain.restarted(dstate, dfresh, restart)
        _, dh = jax.jvp(cell.hidden, (start,), (dstart,))
        combine = functools.partial(cell.combine, params, u)
        _, dp_h = jax.jvp(combine, (v,), (jnp.inner(dh, transposed),))
        dnew = linear(dparams, dstart, jax.tree.map(jnp.add, part(dp), dp_h))
        dnew = dnew if keep is None else where(keep, dnew, dstate)
        return dnew, dnew

    def read(vary: list[Array], states: State, us: Any) -> Array:
        return cell.read(trees.put(params, varies, vary), states, us)

    layout = layouts.choose(cell, params, inputs)
    merged, unmerge = rows.merge(tape)
    before = _states_before(state, tape[0], options.reverse)
    before = chunks.edges(chunks.cut(before, layout.chunk), options)
    parts = chunks.cut((inputs, dxs, merged), layout.chunk)
    parts = tuple(zip(before, parts, strict=True))
    dstate, parts = chunks.scan(chunk, dstate, parts, options)
    return Trajectory(dstate, *chunks.join(parts))


def _states_before(state: State, states: State, reverse: bool) -> State:
    """Returns the state before each step, of those after each and the first."""

    def shift(first: Array, after: Array) -> Array:
        if reverse:
            return jnp.concatenate([after[1:], first[None]])
        return jnp.concatenate([first[None], after[:-1]])

    return jax.tree.map(shift, state, states)


def _project(cell: GatedCell, params: Params, inputs: Inputs) -> Any:
    """Projects a chunk, as rows of one matrix where that is allowed.

    XLA transposes a copy of the cotangents before it sums over two axes.
    """
    if inputs.keys is not None:  # masks may have batch axes
        return plain.project(cell, params, inputs)
    return rows.apply(lambda xs: cell.project(params, xs), inputs.xs)


def _product(a: Array, b: Array) -> Array:
    """Multiplies [T, *batch, H] by [H, K]."""
    return rows.apply(lambda matrix: matrix @ b, a)
