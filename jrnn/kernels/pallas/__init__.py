"""The recurrence of a gated cell as one kernel that keeps its weights on the chip.

A compiled loop of JAX reads the recurrent weights from memory at every step, and on a
GPU it starts several kernels per step. A Pallas kernel contains the loop, and reads the
weights once if they fit. There is one kernel for TPUs, and one for NVIDIA GPUs, Hopper
or later. On a CPU the kernel for TPUs is interpreted, for tests.

The backward loop is a kernel as well. It computes only the cotangent of the state after
each step. The cotangents of parameters and inputs are computed outside of the loop, by
differentiating all steps at once with the states held fixed: one matmul for the
weights.

    steps      one step, and its transpose
    platforms  a loop over steps as one operation, which each platform lowers
    tpu        its kernel for a TPU
    gpu        its kernel for a GPU
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import zero_from_primal

from jrnn import forms, numerics
from jrnn.kernels.base import (
    Inputs,
    Loop,
    Options,
    Trajectory,
    project,
    restarted,
)
from jrnn.kernels.gated import Gated, flat
from jrnn.kernels.pallas import platforms, steps
from jrnn.kernels.scan import Scan
from jrnn.meshes import refusal_if_split
from jrnn.types import Array, Cell, Params, State
from jrnn.values import value


@value
class Pallas:
    """Runs a gated cell as one kernel of a TPU or GPU, and its gradient as another.

    On a CPU the kernel is interpreted. Only reverse-mode derivatives are supported;
    second derivatives are those of `Gated`. If a problem does not fit a kernel,
    lowering the program for its platform raises an error with the bytes. GPUs must be
    Hopper or later; there, inputs of float32 matmuls are rounded to TF32, and the state
    is carried in float32.

    Attributes:
      memory: Bytes of on-chip vector memory of a TPU that the kernel may use. The
        kernel splits the batch into blocks that fit beside the weights, and refuses
        weights that leave no room. A core of TPU v5p and v7x has 64 MiB, one of v5e and
        v6e 128 MiB, according to `jax.experimental.pallas.tpu.get_tpu_info`; an eighth
        is left to the compiler.

    Example:
      >>> import jrnn
      >>> jrnn.kernels.named("pallas")
      Pallas()
    """

    memory: int = 56 * 2**20

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Returns why this kernel cannot run a cell; None if it can."""
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
        return refusal_if_split(inputs.xs)

    def run(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs a gated cell along time."""
        leaves = jax.tree.leaves(loop.state)
        smooth = all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves)
        if 0 in jax.tree.leaves(loop.inputs.xs)[0].shape[:2] or not smooth:
            return Scan().run(cell, loop, options)  # no step, or no derivative
        return _run(cell, options, self.memory, loop)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _run(cell: Cell, options: Options, memory: int, loop: Loop) -> Trajectory:
    form: Any = cell.form
    params, state, fresh, inputs = loop
    us = project(cell, params, inputs)
    stored = options.outputs or options.states

    def body(*given: Any) -> tuple[State, State | None]:
        new = steps.forward(form, *given)
        return new, new if stored else None

    shared = steps.Shared(form.recurrent(params), params)
    rows = steps.Rows(_mask(form, params, state), fresh)
    slices = steps.Ahead(us, *_flags(inputs))
    arrays = steps.Arrays(shared, rows, state, slices)
    final, states = platforms.loop(body, arrays, options.reverse, memory)
    ys = cell.read(params, states, us) if options.outputs else None
    return Trajectory(final, states if options.states else None, ys)


def _forward(cell: Cell, options: Options, memory: int, loop: Loop) -> Any:
    found = _run(cell, options._replace(states=True), memory, loop)
    out = found if options.states else found._replace(states=None)
    return out, (loop, found.states)


def _backward(
    cell: Cell, options: Options, memory: int, residuals: Any, gradient: Trajectory
) -> tuple[Loop]:
    return (_pull(cell, options, memory, *residuals, gradient),)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _pull(
    cell: Cell,
    options: Options,
    memory: int,
    loop: Loop,
    states: State,
    gradient: Trajectory,
) -> Loop:
    """Returns the cotangents of a loop from those of its results."""
    form: Any = cell.form
    params, state, fresh, inputs = loop
    starts = numerics.shift(state, states, options.reverse)
    starts = restarted(starts, fresh, inputs.restart)

    def all_steps(params: Params, xs: Any) -> Any:
        us = flat.project(cell, params, inputs._replace(xs=xs))
        vs = flat.as_rows(form.recurrent(params), form.seen(params, starts), 1)
        ps = form.combine(params, us, vs)
        return (form.update(params, starts, ps), us), (vs, ps)

    (_, us), pull, (vs, ps) = jax.vjp(all_steps, params, inputs.xs, has_aux=True)
    of_read, outside, dus = _pull_read(cell, (params, states, us), gradient)
    restarts = inputs.restart is not None
    carry = (gradient.final, jax.tree.map(jnp.zeros_like, fresh) if restarts else None)
    wide = lambda leaf: leaf.astype(numerics.wide(leaf))  # noqa: E731
    arrays = steps.Arrays(
        steps.Shared(form.recurrent(params), params),
        steps.Rows(_mask(form, params, state), None),
        steps.Cotangents(*jax.tree.map(wide, carry)),
        steps.Taped(starts, us, vs, ps, outside, *_flags(inputs)),
    )
    body = functools.partial(steps.backward, form)
    carry, news = platforms.loop(body, arrays, not options.reverse, memory)
    dparams, dxs = pull((news, dus))
    typed = functools.partial(jax.tree.map, lambda g, leaf: g.astype(leaf.dtype))
    return Loop(
        jax.tree.map(_add, dparams, of_read),
        typed(carry.state, state),
        typed(carry.fresh, fresh) if restarts else zero_from_primal(fresh),
        Inputs(dxs, None, None, None),
    )


def _pull_read(cell: Cell, at: Any, gradient: Trajectory) -> Any:
    """Returns the cotangents of parameters, states and projected inputs by the outputs.

    Those of states are a list of leaves, to which the direct cotangents of the states
    are added; None for a leaf without a cotangent.
    """
    leaves = len(jax.tree.leaves(at[1]))
    outside: list[Array | None] = [None] * leaves
    if gradient.states is not None:
        outside = jax.tree.leaves(gradient.states)
    if gradient.ys is None:
        params, _, us = at
        return zero_from_primal(params), outside, zero_from_primal(us)
    dparams, dstates, dus = jax.vjp(cell.read, *at)[1](gradient.ys)
    read = jax.tree.leaves(steps.read(cell.read, *at)[1])
    pairs = zip(outside, jax.tree.leaves(dstates), read, strict=True)
    added = [(g if a is None else a + g) if is_read else a for a, g, is_read in pairs]
    return dparams, added, dus


def _pull_forward(cell: Cell, options: Options, memory: int, *given: Any) -> Any:
    return _pull(cell, options, memory, *given), given


def _pull_backward(
    cell: Cell, options: Options, memory: int, residuals: Any, gradient: Loop
) -> Any:
    """Computes second derivatives by the gated kernel."""
    del memory
    loop, states, given = residuals
    run = functools.partial(Gated().run, cell, options=options)

    def again(loop: Loop, given: Trajectory) -> Loop:
        return jax.vjp(run, loop)[1](given)[0]

    dloop, dgiven = jax.vjp(again, loop, given)[1](gradient)
    return dloop, jax.tree.map(jnp.zeros_like, states), dgiven


_run.defvjp(_forward, _backward)
_pull.defvjp(_pull_forward, _pull_backward)


def _mask(form: Any, params: Params, state: State) -> Array | None:
    """Returns the factor of the input of the recurrent matmul, for every row."""
    mask = form.mask and form.mask(params)
    if mask is None:
        return None
    h = jax.eval_shape(form.hidden, state)
    return jnp.broadcast_to(numerics.along(mask, h).astype(h.dtype), h.shape)


def _flags(inputs: Inputs) -> tuple[Array | None, Array | None]:
    """Returns flags [T, B, 1], by which a step selects rows."""
    return jax.tree.map(lambda a: a[..., None], (inputs.keep, inputs.restart))


def _add(a: Array, b: Array) -> Array:
    return a if a.dtype == jax.dtypes.float0 else a + b
