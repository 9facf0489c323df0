"""Runs a cell once and hands out what each step saw."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.scanning import scan
from jrnn.types import Array, Cell, Params, State


class Replay(NamedTuple):
    """The steps of one sequence; every leaf but those of `params` is [T, ...]."""

    params: Params  # prepared
    before: State  # before each step
    after: State  # after each step
    us: Any  # projected inputs


def replay(cell: Cell, params: Params, state: State | None, xs: Any) -> Replay:
    """Runs a cell over one sequence [T, features]."""
    start = cell.initial_state(cell.prepare(params)) if state is None else state
    after, _ = scan(cell, params, start, xs, return_states=True, method="scan")
    before = jax.tree.map(
        lambda first, rest: jnp.concatenate([first[None], rest[:-1]]), start, after
    )
    prepared = cell.prepare(params)
    return Replay(prepared, before, after, cell.project(prepared, xs))


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


def tree_norm(tree: Any) -> Array:
    """Returns the Euclidean norm of all leaves together.

    The squares are of numbers scaled to at most one: those of a gradient below 1e-19
    would vanish in float32, and those of a large one overflow.
    """
    wide = [leaf.astype(_wide(leaf)) for leaf in jax.tree.leaves(tree)]
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in wide]))
    scale = jnp.where(largest > 0, largest, 1)
    squares = [jnp.sum(jnp.square(leaf / scale)) for leaf in wide]
    return scale * jnp.sqrt(jnp.stack(squares).sum())


def _wide(leaf: Array) -> Any:
    return jnp.promote_types(leaf.dtype, jnp.float32)
