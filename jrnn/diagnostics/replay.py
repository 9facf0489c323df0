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
    """Returns the Euclidean norm of all leaves together."""
    wide = [_widen(leaf) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in wide))


def _widen(leaf: Array) -> Array:
    """Casts half precision, whose squares overflow, to float32."""
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
