"""Runs a cell along time.

Cells know nothing of sequences. Whatever concerns a sequence as a whole is here: its
layout, its order, its padding, its episode borders and its place on a device mesh. The
loop itself is a kernel's.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks, kernels, masks
from jrnn.masks import where
from jrnn.types import Array, Cell, Params, PRNGKey, State

_LAYOUT = ["reverse", "time_major", "return_sequence", "return_states"]
_STATIC = ["cell", *_LAYOUT, "unroll", "method", "remat"]


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
      cell: What to compute.
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
        jax.tree.map(lambda a: a[None], x),
        key=key,
        time_major=True,
    )
    return state, ys[0]


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
    unroll: int = 1,
    method: str = "auto",
    remat: str | tuple[int, ...] | None = None,
) -> tuple[State, Array]:
    """Runs a cell over a sequence; mirrors `jax.lax.scan`, state first.

        for t in range(T):
            if reset[t]: state = cell.initial_state(params)
            state, ys[t] = jrnn.step(cell, params, state, xs[t])

    with three exceptions, example by example: a step whose mask is False does nothing,
    reverse runs from the last step to the first, and in reverse the reset flag at t
    acts between steps t and t-1, where it also acts forwards.

    Args:
      cell: What to compute in each step.
      params: Parameters, from `cell.init`.
      state: State before the first step, from `cell.initial_state` or from an earlier
        scan, which then continues; None for the initial state.
      xs: Inputs [*batch, time, features], any number of batch axes; may be a tree of
        such arrays.
      lengths: Integers [*batch]: the number of valid steps of each row, padded at the
        end. The same as the mask `t < length`. Traced lengths are clipped to [0, T].
      mask: Booleans [*batch, time]. Where False the step does nothing: the state is
        held, the output is zero, a reset is ignored, and the input matters to neither
        values nor gradients, be it NaN.
      reset: Booleans [*batch, time]. Where True the state is replaced by the initial
        state before the step, as at the start of an episode or of a packed segment.
      key: Source of randomness for cells that draw noise; None is evaluation.
      reverse: Whether to run from the last valid step to the first. Outputs keep the
        order of the inputs.
      time_major: Whether `xs`, `mask`, `reset` and the outputs are [time, *batch, ...].
      return_sequence: False returns the output of the last valid step alone (the first
        in reverse; zero where there is none), and stores no sequence of outputs.
      return_states: True returns the state after every step, stacked along time, in
        place of the final state.
      unroll: Number of steps per trip of the compiled loop.
      method: Kernel: "auto" for the fastest that applies, or one of
        `jrnn.kernels.METHODS`.
      remat: How to save memory in the backward pass by computing again: None,
        "step", "sqrt", or the lengths of nested loops, whose product covers the time.

    Returns:
      The state after the last valid step of each row, and the outputs
      [*batch, time, output_size].

    Raises:
      ValueError: if a shape, a length or an option does not fit.
      TypeError: if a dtype or the structure of the state does not fit.

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
    xs = jax.tree.map(jnp.asarray, xs)
    lengths, mask, reset = map(masks.as_flags, (lengths, mask, reset))
    batch, time = checks.sequence_axes(xs, cell.feature_axes, time_major)
    checks.lengths(lengths, batch, time)
    checks.flags("mask", mask, batch, time, time_major)
    checks.flags("reset", reset, batch, time, time_major)
    checks.at_least("unroll", unroll, 1)
    kernels.remat.lengths(remat, time)
    return _scan(
        cell,
        params,
        state,
        xs,
        lengths,
        mask,
        reset,
        key,
        reverse=reverse,
        time_major=time_major,
        return_sequence=return_sequence,
        return_states=return_states,
        unroll=unroll,
        method=method,
        remat=remat,
    )


# Compiled here, once for the library: outside of `jit` every call of `lax.scan` on a
# new Python function compiles afresh.
@functools.partial(jax.jit, static_argnames=_STATIC)
def _scan(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    lengths: Array | None,
    mask: Array | None,
    reset: Array | None,
    key: PRNGKey | None,
    *,
    time_major: bool,
    return_sequence: bool,
    return_states: bool,
    method: str,
    **how: Any,
) -> tuple[State, Array]:
    batch, time = checks.sequence_axes(xs, cell.feature_axes, time_major)
    if not time_major:
        xs, mask, reset = _time_first((xs, mask, reset), len(batch))
    key_cell, key_steps = (None, None) if key is None else jax.random.split(key)
    keys = None if key_steps is None else jax.random.split(key_steps, time)

    keep = masks.valid(lengths, mask, time)
    if keep is not None:  # a NaN in the padding would reach the gradients
        xs = where(keep, xs, jax.tree.map(jnp.zeros_like, xs))
    restart = masks.restarts(reset, keep, how["reverse"])
    inputs = kernels.Inputs(xs, keys, keep, restart)

    params = cell.prepare(params, key=key_cell, batch_shape=batch)
    fresh = cell.initial_state(params, batch)
    if state is not None:
        recover = f"Make it with `cell.initial_state(params, {batch})`."
        checks.same_structure("state", state, fresh, recover)
    state = fresh if state is None else state
    if time:
        state, fresh = _typed(cell, params, inputs, state, fresh)

    options = kernels.Options(return_states, return_sequence, mask is None, **how)
    kernel = kernels.choose(method, cell, state, inputs, options)
    loop = (cell, params, state, fresh, inputs, options)
    final, states, ys = kernels.remat.run(kernel, *loop)
    if return_sequence:
        ys = ys if keep is None else where(keep, ys, jnp.zeros_like(ys))
    else:
        ys = _last_output(cell, params, final, inputs, how["reverse"])
    result = states if return_states else final
    if not time_major:
        result = _batch_first(result, len(batch)) if return_states else result
        ys = _batch_first(ys, len(batch)) if return_sequence else ys
    return result, ys


def _typed(
    cell: Cell, params: Params, inputs: kernels.Inputs, state: State, fresh: State
) -> tuple[State, State]:
    """Gives the states the type of those that follow, which come from the data.

    Under explicit meshes and `shard_map` the type of an array says where it lives.
    Zeros live nowhere: a loop that starts from them would change type in its first
    step.

    Raises:
      TypeError: if a step changes the structure, the shapes or the dtypes of the state.
    """
    first = jax.tree.map(lambda leaf: leaf[0], inputs)

    def one_step(state: State, fresh: State) -> State:
        u = cell.project(params, first.xs, key=first.keys)
        if first.restart is not None:
            state = where(first.restart, fresh, state)
        new = cell.step(params, state, u)
        return new if first.keep is None else where(first.keep, new, state)

    after = jax.lax.stop_gradient(one_step(state, fresh))
    checks.same_state(state, after, inputs.xs, params)
    place = functools.partial(jax.tree.map, _place_like)
    return place(state, after), place(fresh, after)


def _place_like(a: Array, like: Array) -> Array:
    """Gives an array the type of another; no value changes.

    The other lends its type through flags that are never set, which XLA removes. Where
    the types agree nothing is done, and what made the other is dead code.
    """
    if jax.typeof(a).strip_weak_type() == jax.typeof(like).strip_weak_type():
        return a
    never = jnp.logical_and(like != like, False)
    return a + never.astype(a.dtype)


def _last_output(
    cell: Cell, params: Params, final: State, inputs: kernels.Inputs, reverse: bool
) -> Array:
    """Reads the output of the last valid step of each row, from the final state.

    The input of that step alone is projected again, not those of all steps.
    """
    time, *batch = jax.tree.leaves(inputs.xs)[0].shape[: -cell.feature_axes or None]
    if not time:
        us = kernels.project(cell, params, inputs)
        u = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], a.dtype), us)
        return jnp.zeros_like(cell.read(params, final, u))
    end = 0 if reverse else time - 1
    if inputs.keep is None:
        last = jax.tree.map(lambda a: a[end], inputs)
        return cell.read(params, final, cell.project(params, last.xs, key=last.keys))
    order = inputs.keep if reverse else inputs.keep[::-1]
    index = jnp.abs(end - jnp.argmax(order, axis=0)).reshape(1, *batch)
    rows = functools.partial(jax.tree.map, lambda a: _take(a, index))
    if inputs.keys is None:
        u = cell.project(params, rows(inputs.xs))
    else:  # each row has the noise of a step of its own
        u = rows(kernels.project(cell, params, inputs))
    y = cell.read(params, final, u)
    return where(jnp.any(inputs.keep, axis=0), y, jnp.zeros_like(y))


def _take(a: Array, index: Array) -> Array:
    """Takes the step `index` [1, *batch] of each row of an array [T, *batch, ...]."""
    axes = index.shape + (1,) * (a.ndim - index.ndim)
    return jnp.take_along_axis(a, index.reshape(axes), axis=0)[0]


def _time_first(tree: Any, axis: int) -> Any:
    return jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), tree)


def _batch_first(tree: Any, axis: int) -> Any:
    return jax.tree.map(lambda a: jnp.moveaxis(a, 0, axis), tree)
