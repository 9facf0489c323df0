"""The plain scan: the definition of what every other kernel computes."""

from typing import Any, NamedTuple

import jax

from jrnn.masks import where
from jrnn.types import Array, Cell, Params, State


class Inputs(NamedTuple):
    """What enters a loop over time: every leaf is [time, ...]."""

    xs: Any  # [T, *batch, features]; zero where padded
    keys: Array | None  # [T] one key per step
    keep: Array | None  # [T, *batch] False where the step does nothing
    restart: Array | None  # [T, *batch] True where the state is replaced first


class Options(NamedTuple):
    """How a loop over time is run; static."""

    states: bool = False  # stack the state after every step
    outputs: bool = True  # stack the output of every step
    right_padded: bool = True  # padding, if any, is at the end of each row
    reverse: bool = False
    unroll: int = 1
    remat: str | tuple[int, ...] | None = None


class Trajectory(NamedTuple):
    """What a kernel returns. A part that was not asked for is None."""

    final: State  # after the last step
    states: State | None  # [T, *batch, ...] after every step
    ys: Array | None  # [T, *batch, output_size]; anything where padded


def run(
    cell: Cell,
    params: Params,
    state: State,
    fresh: State,
    inputs: Inputs,
    options: Options,
) -> Trajectory:
    """Runs a cell along time with `jax.lax.scan`.

    Args:
      cell: What to compute in each step.
      params: Prepared parameters.
      state: State before the first step, typed like the states that follow it.
      fresh: State that a restart begins from, [*batch, ...].
      inputs: Sequences, time first.
      options: Direction, unrolling, and what to keep.

    Returns:
      The final state, and the states and outputs that were asked for.
    """

    def body(state: State, slices: Any) -> tuple[State, Any]:
        u, keep, restart = slices
        start = restarted(state, fresh, restart)
        new = cell.step(params, start, u)
        y = cell.read(params, new, u) if options.outputs else None
        if keep is not None:
            new = where(keep, new, state)
        return new, (new if options.states else None, y)

    us = project(cell, params, inputs)
    slices = (us, inputs.keep, inputs.restart)
    final, (states, ys) = unroll(body, state, slices, options)
    return Trajectory(final, states, ys)


def refusal(cell: Cell, inputs: Inputs, options: Options) -> str | None:
    """Returns None: every cell can run like this."""
    del cell, inputs, options
    return None


def restarted(state: State, fresh: State, restart: Array | None) -> State:
    """Returns the state that a step starts from, or each of many steps."""
    return state if restart is None else where(restart, fresh, state)


def project(cell: Cell, params: Params, inputs: Inputs) -> Any:
    """Projects every time step at once, with the keys that single steps would use."""
    if inputs.keys is None:
        return cell.project(params, inputs.xs)
    return jax.vmap(lambda x, key: cell.project(params, x, key=key))(
        inputs.xs, inputs.keys
    )


def unroll(body: Any, state: State, slices: Any, options: Options) -> Any:
    """Runs `jax.lax.scan`, or its body alone where there is one step."""
    length = jax.tree.leaves(slices)[0].shape[0]
    if length == 1:  # as when decoding: no loop to set up
        state, out = body(state, jax.tree.map(lambda leaf: leaf[0], slices))
        return state, jax.tree.map(lambda leaf: leaf[None], out)
    number = options.unroll if isinstance(length, int) else 1  # symbolic in exports
    return jax.lax.scan(body, state, slices, reverse=options.reverse, unroll=number)
