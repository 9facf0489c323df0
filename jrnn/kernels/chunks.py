"""Loops over time in two levels: chunks of many steps, and what is left over.

What can be done for many steps at once is done for one chunk at a time, so that its
results stay in the cache and few of them are alive together.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.plain import Options, unroll

Parts = tuple[Any, ...]  # [chunks, size, ...], and [rest, ...] where there is a rest


def cut(tree: Any, size: int) -> Parts:
    """Cuts leaves [time, ...] into chunks of `size` steps and the rest."""
    time = jax.tree.leaves(tree)[0].shape[0]
    if time <= size:  # with no reshape, which axes that lie on a mesh can refuse
        return (_one(tree),)
    number = time // size
    chunks = jax.tree.map(
        lambda a: a[: number * size].reshape(number, size, *a.shape[1:]), tree
    )
    if number * size == time:
        return (chunks,)
    return chunks, jax.tree.map(lambda a: a[number * size :], tree)


def join(parts: Parts) -> Any:
    """Returns the leaves [time, ...] that were cut."""

    def merge(a: Any) -> Any:
        number, size, *rest = a.shape
        return a[0] if number == 1 else a.reshape(number * size, *rest)

    whole = jax.tree.map(merge, parts[0])
    if len(parts) == 1:
        return whole
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), whole, parts[1])


def edges(parts: Parts, options: Options) -> Parts:
    """Returns the step that runs first, of each chunk [chunks, ...] and of the rest."""
    at = -1 if options.reverse else 0
    of_chunks = jax.tree.map(lambda a: a[:, at], parts[0])
    return of_chunks, *(jax.tree.map(lambda a: a[at], rest) for rest in parts[1:])


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    parts: Parts,
    options: Options,
) -> tuple[Any, Parts]:
    """Runs `body` over chunks, in the order of time or against it."""
    out: dict[int, Any] = {}
    for number in reversed(range(len(parts))) if options.reverse else range(len(parts)):
        if number == 1:
            state, out[1] = body(state, parts[1])
        else:
            single = jax.tree.leaves(parts[0])[0].shape[1] == 1
            how = options if single else options._replace(unroll=1)
            state, out[0] = unroll(body, state, parts[0], how)
    return state, tuple(out[number] for number in range(len(parts)))


def _one(tree: Any) -> Any:
    """Returns leaves [steps, ...] as a single chunk [1, steps, ...]."""
    return jax.tree.map(lambda a: a[None], tree)
