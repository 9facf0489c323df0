"""The derivative of the gated kernel: tangents in, tangents out, linear between.

JAX transposes this for gradients. `Tangents.ahead` holds the tangents of the recurrent
and the input weights; its transpose is their gradient, one matmul per chunk, outside
the loop over steps. `Tangents.step` is all that stays in that loop.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import forms, numerics
from jrnn.cells.affine import join
from jrnn.kernels import base
from jrnn.kernels.base import Inputs, Loop, Trajectory, restarted
from jrnn.kernels.gated import chunks, flat
from jrnn.kernels.gated.forward import Tape
from jrnn.kernels.gated.layout import Plan
from jrnn.kernels.gated.varying import Varying, instantiate
from jrnn.types import Array, State


def push(plan: Plan, loop: Loop, dloop: Loop, tape: Tape) -> Trajectory:
    """Returns the tangents of a recorded run.

    Args:
      plan: What was run and how.
      loop: What the run computed with.
      dloop: Its tangents; symbolic zeros where there are none.
      tape: What the run saved.
    """
    layout, options = plan.layout, plan.options
    maps = Tangents(plan, loop, dloop)
    dstate = jax.tree.map(instantiate, loop.state, dloop.state)
    before = numerics.shift(loop.state, tape[0], options.reverse)
    starts = chunks.first_steps(chunks.split(before, layout.chunk), options)
    parts = chunks.split((loop.inputs, maps.xs.tangents, tape), layout.chunk)

    # The backward pass saves nothing of a chunk: it recomputes chunk by chunk.
    chunk = jax.checkpoint(maps.chunk, prevent_cse=False)
    slices = list(zip(starts, parts, strict=True))
    dstate, out = chunks.scan(chunk, dstate, slices, options)
    return Trajectory(dstate, *chunks.join(out))


class Tangents:
    """The tangent map of a run, for one chunk of steps at a time."""

    def __init__(self, plan: Plan, loop: Loop, dloop: Loop):
        self.cell, self.form, self.options = plan.cell, plan.form, plan.options
        self.params, self.fresh = loop.params, loop.fresh
        self.dfresh = jax.tree.map(instantiate, loop.fresh, dloop.fresh)
        self.weights = Varying(dloop.params)  # parameters with a tangent
        # Loops sum the cotangents of these, over steps and over chunks.
        self.wide, self.narrow = numerics.widened(self.weights.tangents)
        self.vary = self.weights.pick(loop.params)
        self.xs = Varying(dloop.inputs.xs)
        self.recurrent = plan.form.recurrent(loop.params).hoist()

    def chunk(self, dstate: State, slices: Any) -> tuple[State, Any]:
        """Pushes the tangent of a state through the steps of a chunk.

        Args:
          dstate: Tangent of the state before the chunk.
          slices: The state before the chunk; then, for its steps, the inputs, the
            tangents of those leaves of the inputs that have one, and the tape.

        Returns:
          The tangent after the chunk, and those of states and outputs, if asked for.
        """
        first, (inputs, dxs, (states, ps)) = slices
        starts = numerics.shift(first, states, self.options.reverse)
        starts = restarted(starts, self.fresh, inputs.restart)
        (us, vs, again), (dus, dps) = self.ahead(starts, inputs, dxs)
        updates = jax.vmap(self.linear_update)(starts, again if ps is None else ps)
        dps, separate = join(dps, vs.ndim)  # one array for the loop to read
        step = functools.partial(self.step, separate)
        flags = (_spread(inputs.keep, starts), _spread(inputs.restart, starts))
        slices = (updates, us, vs, starts, dps, *flags)
        dstate, dstates = base.unroll(step, dstate, slices, self.options)
        dys = self.outputs(states, us, dstates, dus) if self.options.outputs else None
        return dstate, (dstates if self.options.states else None, dys)

    def ahead(self, starts: State, inputs: Inputs, dxs: list[Array]) -> Any:
        """Does what needs no tangent of a state, for all steps of a chunk at once.

        Returns:
          Projected inputs, recurrent matmuls and pre-activations; and the tangents of
          the first and the last, where the states are held fixed.
        """
        form, axes = self.form, self.cell.feature_axes

        def preactivate(vary: list[Array], xs: list[Array]) -> Any:
            params = self.weights.put(self.params, vary)
            moved = inputs._replace(xs=self.xs.put(inputs.xs, xs))
            us = flat.project(self.cell, params, moved)
            vs = flat.as_rows(form.recurrent(params), form.seen(params, starts), axes)
            return us, vs, form.combine(params, us, vs)

        at = (self.vary, self.xs.pick(inputs.xs))
        out, (dus, _, dps) = jax.jvp(preactivate, at, (self.narrow(self.wide), dxs))
        return out, (dus, dps)

    def linear_update(self, start: State, p: Any) -> Any:
        """Returns the linear part of `update` at one step, a tree of arrays."""

        def update(vary: list[Array], state: State, p: Any) -> State:
            return self.form.update(self.weights.put(self.params, vary), state, p)

        return jax.linearize(update, self.vary, start, p)[1]

    def step(self, separate: Any, dstate: State, slices: Any) -> tuple[State, State]:
        """Takes one step of the loop: all that waits for the tangent of a state."""
        linear, u, v, start, dp, keep, restart = slices
        form = self.form

        def advance(dstart: State) -> State:
            seen = functools.partial(form.seen, self.params)
            _, dh = jax.jvp(seen, (start,), (dstart,))
            combine = functools.partial(form.combine, self.params, u)
            _, dp_h = jax.jvp(combine, (v,), (self.recurrent(dh),))
            total = jax.tree.map(jnp.add, separate(dp), dp_h)
            return linear(self.narrow(self.wide), dstart, total)

        dstart = dstate
        if restart is not None:
            dstart = _choose(restart, self.dfresh, dstate)
        forms.check_around(form.around, self.params, u, dstart)
        dnew = form.around(self.params, u, dstart, advance)
        dnew = dnew if keep is None else _choose(keep, dnew, dstate)
        return dnew, dnew

    def outputs(self, states: State, us: Any, dstates: State, dus: Any) -> Array:
        """Returns the tangents of the outputs of a chunk."""

        def read(vary: list[Array], states: State, us: Any) -> Array:
            return self.cell.read(self.weights.put(self.params, vary), states, us)

        at, along = (self.vary, states, us), (self.narrow(self.wide), dstates, dus)
        return jax.jvp(read, at, along)[1]


def _spread(flags: Array | None, states: State) -> dict[Any, Array] | None:
    """Broadcasts flags [T, *batch] to the leaves of states [T, *batch, ...], by shape.

    Broadcast in the loop, they would be a residual of every step, and JAX would run
    another loop only to store them. Comparing a leaf with itself transfers its sharding
    to the flags; XLA removes it.
    """
    if flags is None:
        return None

    def spread(like: Array) -> Array:
        aligned = flags.reshape(*flags.shape, *(1,) * (like.ndim - flags.ndim))
        return aligned | ((like != like) & False)

    leaves = {leaf.shape[1:]: leaf for leaf in jax.tree.leaves(states)}
    return {shape: spread(leaf) for shape, leaf in leaves.items()}


def _choose(flags: dict[Any, Array], on_true: State, on_false: State) -> State:
    """Chooses between two states by flags that have their shapes."""
    return jax.tree.map(lambda a, b: jnp.where(flags[a.shape], a, b), on_true, on_false)
