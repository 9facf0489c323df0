"""The forward pass of the gated kernel, with or without the tape for derivatives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells.affine import join
from jrnn.kernels.base import Inputs, Loop, Trajectory, project, restarted
from jrnn.kernels.gated import chunks
from jrnn.kernels.gated.layout import Plan
from jrnn.masks import where
from jrnn.numerics import along
from jrnn.types import Array, Params, State

Tape = tuple[State, Any]  # [T, *batch, ...] state after each step, pre-activations
# (input, projected input, part of the state that is multiplied) -> pre-activations
Preactivate = Callable[[Array, Any, Array], Any]


def run(
    plan: Plan, loop: Loop, *, saving: bool = False, in_place: bool = True
) -> tuple[Trajectory, Tape]:
    """Runs the cell.

    Args:
      plan: What is run and how.
      loop: The arrays of the loop.
      saving: Whether the tape holds all that derivatives need.
      in_place: Whether steps write into the whole result; see `chunks.loop_in_place`.
    """
    cell, layout, options = plan
    form = plan.form
    params, state, fresh, inputs = loop
    preactivate = (_jointly if layout.joint else _separately)(plan, params)

    def ahead(inputs: Inputs) -> Any:
        return project(cell, params, inputs)

    unpack: Any = None  # known after a step was traced

    def step(state: State, slices: tuple[Inputs, Any]) -> tuple[State, Any]:
        nonlocal unpack
        (x, _, keep, restart), u = slices
        p = None

        def advance(state: State) -> State:
            nonlocal p
            p = preactivate(x, u, form.seen(params, state))
            return form.update(params, state, p)

        start = restarted(state, fresh, restart)
        new = form.around(params, u, start, advance)
        new = new if keep is None else where(keep, new, state)
        kept = new if saving or options.states or options.outputs else None
        out = (kept, p if saving and layout.save else None)
        if layout.packed:
            out, unpack = join(out, form.hidden(new).ndim)
        return new, out

    size = inputs.time if layout.joint else layout.chunk  # jointly, nothing is hoisted
    looping = chunks.loop_in_place if in_place else chunks.loop_stacking
    final, tape, us = looping(ahead, step, state, inputs, size, options)
    tape = unpack(tape) if layout.packed else tape
    states, _ = tape
    ys = cell.read(params, states, us) if options.outputs else None
    return Trajectory(final, states if options.states else None, ys), tape


def _separately(plan: Plan, params: Params) -> Preactivate:
    """Returns the pre-activations of a step from its projected input."""
    form, recurrent = plan.form, plan.form.recurrent(params)
    return lambda x, u, h: form.combine(params, u, recurrent(h))


def _jointly(plan: Plan, params: Params) -> Preactivate:
    """Returns the same from the input itself, by one matmul for input and state."""
    form = plan.form
    w_x, recurrent = form.inputs(params), form.recurrent(params)
    weights = jnp.concatenate([w_x, recurrent.w])
    biases = plan.cell.project(params, jnp.zeros_like(w_x[:, 0]))

    def preactivate(x: Array, u: Any, h: Array) -> Any:
        del u  # unless `read` or `around` uses it, XLA drops the projection
        x = x.astype(h.dtype)  # as `project` of `MixedPrecision` does
        v = jnp.concatenate([x, h], axis=-1) @ weights
        return form.combine(params, jax.tree.map(lambda b: along(b, v), biases), v)

    return preactivate
