"""The forward pass of the gated kernel, with or without the tape for derivatives."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jrnn.kernels.base import Inputs, Loop, Options, Trajectory, project, restarted
from jrnn.kernels.gated import chunks
from jrnn.kernels.gated.layout import Layout
from jrnn.masks import where
from jrnn.types import Array, Cell, Params, State

Tape = tuple[State, Any]  # [T, *batch, ...] state after each step, pre-activations
# (input, projected input, part of the state that is multiplied) -> pre-activations
Preactivate = Callable[[Array, Any, Array], Any]


def run(cell: Cell, layout: Layout, options: Options, loop: Loop) -> Trajectory:
    """Runs the cell."""
    return _run(cell, layout, options, loop, chunks.loop_in_place, False)[0]


def run_saving(
    cell: Cell, layout: Layout, options: Options, loop: Loop, *, in_place: bool = True
) -> tuple[Trajectory, Tape]:
    """Runs the cell and saves what derivatives need."""
    looping = chunks.loop_in_place if in_place else chunks.loop_stacking
    return _run(cell, layout, options, loop, looping, True)


def _run(
    cell: Cell, layout: Layout, options: Options, loop: Loop, looping: Any, saving: bool
) -> tuple[Trajectory, Tape]:
    form: Any = cell.form
    params, state, fresh, inputs = loop
    preactivate = (_jointly if layout.joint else _separately)(cell, params)

    def ahead(inputs: Inputs) -> Any:
        return project(cell, params, inputs)

    def step(state: State, slices: tuple[Inputs, Any]) -> tuple[State, Any]:
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
        return new, (kept, p if saving and layout.save else None)

    size = inputs.time if layout.joint else layout.chunk  # jointly, nothing is hoisted
    final, tape, us = looping(ahead, step, state, inputs, size, options)
    states, _ = tape
    ys = cell.read(params, states, us) if options.outputs else None
    return Trajectory(final, states if options.states else None, ys), tape


def _separately(cell: Cell, params: Params) -> Preactivate:
    """Returns the pre-activations of a step from its projected input."""
    form: Any = cell.form
    recurrent = form.recurrent(params)
    return lambda x, u, h: form.combine(params, u, recurrent(h))


def _jointly(cell: Cell, params: Params) -> Preactivate:
    """Returns the same from the input itself, by one matmul for input and state."""
    form: Any = cell.form
    w_x, recurrent = form.inputs(params), form.recurrent(params)
    weights = jnp.concatenate([w_x, recurrent.w])
    biases = cell.project(params, jnp.zeros_like(w_x[:, 0]))

    def preactivate(x: Array, u: Any, h: Array) -> Any:
        del u  # unless `read` or `around` uses it, XLA drops the projection
        return form.combine(params, biases, jnp.concatenate([x, h], axis=-1) @ weights)

    return preactivate
