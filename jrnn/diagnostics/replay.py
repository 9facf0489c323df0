"""Runs a cell once and returns what each step computed with."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jrnn import checks
from jrnn.numerics import shift
from jrnn.scanning import scan
from jrnn.types import Cell, Params, State


class Replay(NamedTuple):
    """The steps of one sequence; every leaf but those of `params` is [T, ...]."""

    params: Params  # prepared
    before: State  # before each step
    after: State  # after each step
    us: Any  # projected inputs


def replay(cell: Cell, params: Params, state: State | None, xs: Any) -> Replay:
    """Runs a cell over one sequence [T, features]."""
    start = cell.initial_state(params) if state is None else state
    _, (_, after) = scan(cell, params, start, xs, return_states=True, method="scan")
    prepared = cell.prepare(params)
    return Replay(prepared, shift(start, after), after, cell.project(prepared, xs))


def by_example(
    one: Callable[[State | None, Any], Any], cell: Cell, state: State | None, xs: Any
) -> Any:
    """Calls `one(state, xs)` for every sequence of a batch [*batch, T, features].

    Raises:
      ValueError: if there is no time step to look at.
    """
    batch, time = checks.sequence_axes(xs, cell.feature_axes, time_major=False)
    checks.at_least("the number of time steps of xs", time, 1)
    for _ in batch:
        one = jax.vmap(one)
    return one(state, xs)
