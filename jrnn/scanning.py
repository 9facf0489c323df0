"""Runs a cell along time.

A cell computes single steps. This module handles a whole sequence: its layout, order,
padding, resets and sharding. A kernel runs the loop.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks, kernels, masks
from jrnn.masks import where
from jrnn.meshes import place_like, place_rows
from jrnn.options import check_params, is_cell
from jrnn.types import Array, Cell, Params, PRNGKey, State
from jrnn.values import without_init_options


def step(
    cell: Cell,
    params: Params,
    state: State | None,
    x: Any,
    *,
    key: PRNGKey | None = None,
) -> tuple[State, Array]:
    """Runs a cell for a single time step, as when decoding one token at a time.

    Args:
      cell: The cell to run.
      params: Parameters, from `cell.init`.
      state: State before the step; None for the initial state.
      x: Input [*batch, features].
      key: Source of randomness; None for none.

    Returns:
      The state after the step, and the output [*batch, output_size].

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.GRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, y = jrnn.step(cell, params, None, jnp.ones((2, 3)))
      >>> y.shape
      (2, 4)
    """
    state, ys = scan(
        cell,
        params,
        state,
        jax.tree.map(lambda a: a[None], checks.as_arrays("x", x)),
        key=key,
        time_major=True,
    )
    return state, jax.tree.map(lambda y: y[0], ys)


def scan(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    reset: Array | None = None,
    key: PRNGKey | None = None,
    reverse: bool = False,
    time_major: bool = False,
    return_sequence: bool = True,
    return_states: bool = False,
    at_padding: str = "zero",
    unroll: int | None = None,
    method: str | kernels.Kernel = "auto",
    remat: str | tuple[int, ...] | None = None,
) -> tuple[State, Any]:
    """Runs a cell over a sequence; mirrors `jax.lax.scan`, state first.

        for t in range(T):
            if reset[t]: state = cell.initial_state(params)
            state, ys[t] = jrnn.step(cell, params, state, xs[t])

    for each example, with three additions: a step whose mask is False does nothing;
    `reverse` runs from the last step to the first; with `reverse`, the reset flag at t
    still marks a boundary between steps t-1 and t.

    Args:
      cell: The cell to run.
      params: Parameters, from `cell.init`.
      state: State before the first step, from `cell.initial_state` or from an earlier
        scan, which then continues; None for the initial state.
      xs: Inputs [*batch, time, features], any number of batch axes; may be a tree of
        such arrays.
      lengths: Integers [*batch]: the number of valid steps of each row, padded at the
        end. The same as the mask `t < length`. Traced lengths are clipped to [0, T].
      mask: Booleans [*batch, time]. Where False the step does nothing: the state is
        kept, the output is zero, a reset is ignored, and the input reaches neither
        values nor gradients, even if it is NaN.
      reset: Booleans [*batch, time]. Where True the state is replaced by the initial
        state before the step, as at the start of an episode or of a packed segment. In
        reverse, it is replaced after the step, before the valid step that precedes t.
      key: Source of randomness for cells that draw noise; None is evaluation.
      reverse: Whether to run from the last valid step to the first. Outputs keep the
        order of the inputs.
      time_major: Whether `xs`, `mask`, `reset` and the outputs are [time, *batch, ...].
      return_sequence: False returns only the output of the last valid step (the first
        in reverse; zero where there is none), and stores no sequence of outputs.
      at_padding: The output at steps whose mask is False: "zero", or "hold" for the
        output of the previous valid step in the order of the loop, if any.
      return_states: True also returns the state after every step, stacked along time.
      unroll: Number of steps per iteration of the compiled loop. None is 1, or 4 if the
        gated kernel runs on an accelerator, where launching an operation takes time.
      method: Kernel: "auto" chooses by the form of the cell. Otherwise a name in
        `jrnn.kernels.METHODS`, or a kernel such as `jrnn.kernels.Linear(order="scan")`.
      remat: How to rematerialize in the backward pass, to save memory: None, "step",
        "sqrt", or the lengths of nested loops, whose product is at least T.

    Returns:
      The state after the last valid step of each row, and the outputs
      [*batch, time, output_size]. With `return_states=True`, the state after the last
      valid step, and a pair (outputs, states [*batch, time, ...]).

    Raises:
      ValueError: if a shape, a length or an option does not fit.
      TypeError: if a dtype or the structure of the state does not fit, or if `cell` is
        not a cell.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LSTM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.h.shape
      ((2, 5, 4), (2, 4))
      >>> _, ys = jrnn.scan(
      ...     cell, params, None, jnp.ones((2, 5, 3)), lengths=jnp.array([5, 2])
      ... )
      >>> float(abs(ys[1, 2:]).max())  # padding
      0.0
    """
    is_cell("cell", cell)
    kernels.named(method)
    xs = checks.as_arrays("xs", xs)
    checks.key("key", key)
    lengths = masks.as_lengths(lengths)
    mask, reset = masks.as_flags(mask), masks.as_flags(reset)
    batch, time = checks.sequence_axes(xs, cell.feature_axes, time_major)
    checks.lengths(lengths, batch, time)
    checks.flags("mask", mask, batch, time, time_major)
    checks.flags("reset", reset, batch, time, time_major)
    unroll = None if unroll is None else checks.integer("unroll", unroll, 1)
    checks.one_of("at_padding", at_padding, ["zero", "hold"])
    kernels.remat.lengths(remat, time)
    options = kernels.Options(
        states=return_states,
        outputs=return_sequence,
        right_padded=mask is None,
        reverse=reverse,
        unroll=unroll,
        remat=remat,
    )
    cell = without_init_options(cell)
    arrays = (params, state, xs, lengths, mask, reset, key)
    return _scan(cell, method, options, time_major, at_padding, *arrays)


# Compiled here, once for the library: outside `jit`, every call of `lax.scan` on a new
# Python function compiles again.
@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _scan(
    cell: Cell,
    method: str | kernels.Kernel,
    options: kernels.Options,
    time_major: bool,
    at_padding: str,
    params: Params,
    state: State | None,
    xs: Any,
    lengths: Array | None,
    mask: Array | None,
    reset: Array | None,
    key: PRNGKey | None,
) -> tuple[State, Any]:
    batch, time = checks.sequence_axes(xs, cell.feature_axes, time_major)
    check_params(cell, params, xs)
    if not time_major:
        xs, mask, reset = _time_first((xs, mask, reset), len(batch))
    key_cell, key_steps = (None, None) if key is None else jax.random.split(key)
    keys = None if key_steps is None else jax.random.split(key_steps, time)

    keep = masks.valid(lengths, mask, time)
    if keep is not None:  # a NaN in the padding would reach the gradients
        xs = where(keep, xs, jax.tree.map(jnp.zeros_like, xs))
    restart = masks.restarts(reset, keep, options.reverse)
    inputs = kernels.Inputs(xs, keys, keep, restart)

    fresh = cell.initial_state(params, batch)
    if state is not None:
        recover = f"Make it with `cell.initial_state(params, {batch})`."
        checks.same_structure("state", state, fresh, recover)
    params = cell.prepare(params, key=key_cell, batch_shape=batch)
    loop = kernels.Loop(params, fresh if state is None else state, fresh, inputs)
    loop = _typed(cell, loop) if time else loop

    kernel = kernels.choose(method, cell, inputs, options)
    out = kernels.remat.run(kernel, cell, loop, options)
    final, states, ys = out.final, out.states, out.ys
    if ys is None:
        ys = _last_output(cell, params, final, inputs, options.reverse)
    elif keep is not None and at_padding == "hold":
        ys = masks.hold(ys, keep, options.reverse)
    elif keep is not None:
        ys = where(keep, ys, jax.tree.map(jnp.zeros_like, ys))
    if not time_major:
        states = _batch_first(states, len(batch))
        ys = _batch_first(ys, len(batch)) if options.outputs else ys
    return final, (ys, states) if options.states else ys


def _typed(cell: Cell, loop: kernels.Loop) -> kernels.Loop:
    """Gives the initial states the type of the states that follow.

    Under explicit meshes and `shard_map` the type of an array includes its sharding. An
    initial state of zeros has none, and a loop that started from it would change type
    in its first step. The first step is traced to learn the type.

    Raises:
      TypeError: if a step changes the structure, the shapes or the dtypes of the state.
    """
    first = jax.tree.map(lambda leaf: leaf[0], loop.inputs)
    axes = jax.tree.leaves(first.xs)[0].ndim - cell.feature_axes
    loop = loop._replace(
        state=place_rows(loop.state, first.xs, axes),
        fresh=place_rows(loop.fresh, first.xs, axes),
    )

    def one_step(state: State, fresh: State) -> State:
        u = cell.project(loop.params, first.xs, key=first.keys)
        if first.restart is not None:
            state = where(first.restart, fresh, state)
        new = cell.step(loop.params, state, u)
        return new if first.keep is None else where(first.keep, new, state)

    after = jax.lax.stop_gradient(one_step(loop.state, loop.fresh))
    checks.same_state(loop.state, after, loop.inputs.xs, loop.params)
    state, fresh = (place_like(tree, after) for tree in (loop.state, loop.fresh))
    return loop._replace(state=state, fresh=fresh)


def _last_output(
    cell: Cell, params: Params, final: State, inputs: kernels.Inputs, reverse: bool
) -> Array:
    """Reads the output of the last valid step of each row, from the final state.

    Only the input of that step is projected again.
    """
    time, *batch = jax.tree.leaves(inputs.xs)[0].shape[: -cell.feature_axes or None]
    if not time:
        us = kernels.project(cell, params, inputs)
        u = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], a.dtype), us)
        return jax.tree.map(jnp.zeros_like, cell.read(params, final, u))
    end = 0 if reverse else time - 1
    if inputs.keep is None:
        index = 0 if reverse else -1  # `end` may be symbolic
        last = jax.tree.map(lambda a: a[index], inputs)
        return cell.read(params, final, cell.project(params, last.xs, key=last.keys))
    order = inputs.keep if reverse else inputs.keep[::-1]
    ends = jnp.abs(end - jnp.argmax(order, axis=0)).reshape(1, *batch)
    rows = functools.partial(jax.tree.map, lambda a: _take(a, ends))
    if inputs.keys is None:
        u = cell.project(params, rows(inputs.xs))
    else:  # each row has the noise of its own last step
        u = rows(kernels.project(cell, params, inputs))
    y = cell.read(params, final, u)
    zero = jax.tree.map(jnp.zeros_like, y)
    return where(jnp.any(inputs.keep, axis=0), y, zero)


def _take(a: Array, index: Array) -> Array:
    """Takes the step `index` [1, *batch] of each row of an array [T, *batch, ...]."""
    if a.ndim < index.ndim:  # a key has no batch, and `read` must not use it
        return a[-1]
    axes = index.shape + (1,) * (a.ndim - index.ndim)
    return jnp.take_along_axis(a, index.reshape(axes), axis=0)[0]


def _time_first(tree: Any, axis: int) -> Any:
    return jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), tree)


def _batch_first(tree: Any, axis: int) -> Any:
    return jax.tree.map(lambda a: jnp.moveaxis(a, 0, axis), tree)
