"""Loops over time in two levels: chunks of many steps, and what is left over.

What can be done for many steps at once is done for one chunk at a time, so that its
results stay in the cache and few of them are alive together.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.plain import Options, unroll
from jrnn.types import Array

Body = Callable[[Any, Any], tuple[Any, Any]]
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
    body: Body,
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


def loop(
    ahead: Callable[[Any], Any],
    step: Body,
    state: Any,
    inputs: Any,
    size: int,
    options: Options,
    *,
    in_place: bool,
) -> tuple[Any, Any, Any]:
    """Runs `step` over chunks of time, and stacks what it returns.

    To write in place saves filling and copying every chunk. But the derivative, in
    reverse, reads and overwrites the whole in every step, for which XLA copies it: the
    second derivatives of an LSTM at time 1024, batch 32, 64 inputs and units take 1.93
    s so and 0.40 s stacked, on two cores of an x86-64.

    Args:
      ahead: What is done for many steps at once, of leaves [steps, ...].
      step: Takes a state, and one step of the inputs and of what was done ahead.
      state: State before the first step.
      inputs: Leaves [time, ...].
      size: Number of steps in a chunk.
      options: Direction and unrolling.
      in_place: Whether to write each step where it stays, or to stack the steps of a
        chunk and then the chunks.

    Returns:
      The final state, and [time, ...] of what steps returned and of what was done
      ahead.
    """
    time = jax.tree.leaves(inputs)[0].shape[0]
    if in_place and time > size:  # a single chunk is stacked where it stays

        def put(at: Array, whole: Array, out: Array) -> Array:
            return jax.lax.dynamic_update_index_in_dim(
                whole, out, at, axis=0, allow_negative_indices=False
            )

        def write(carry: Any, slices: Any) -> tuple[Any, None]:
            state, whole = carry
            (at, inputs), us = slices
            state, out = step(state, (inputs, us))
            return (state, jax.tree.map(functools.partial(put, at), whole, out)), None

        (state, whole), _, us = loop(
            lambda part: ahead(part[1]),
            write,
            (state, _whole(ahead, step, state, inputs)),
            (jnp.arange(time), inputs),
            size,
            options,
            in_place=False,
        )
        return state, whole, us

    def chunk(state: Any, part: Any) -> tuple[Any, Any]:
        us = ahead(part)
        state, out = unroll(step, state, (part, us), options)
        return state, (out, us)

    state, parts = scan(chunk, state, cut(inputs, size), options)
    return state, *join(parts)


def _whole(ahead: Callable[[Any], Any], step: Body, state: Any, inputs: Any) -> Any:
    """Returns zeros [time, ...] like what each step returns."""

    def one_step(state: Any, inputs: Any) -> Any:
        first = jax.tree.map(lambda a: a[:1], inputs)
        return step(state, jax.tree.map(lambda a: a[0], (first, ahead(first))))[1]

    time = jax.tree.leaves(inputs)[0].shape[0]
    return jax.tree.map(
        lambda like: jnp.zeros_like(like, shape=(time, *like.shape)),
        jax.eval_shape(one_step, state, inputs),
    )


def _one(tree: Any) -> Any:
    """Returns leaves [steps, ...] as a single chunk [1, steps, ...]."""
    return jax.tree.map(lambda a: a[None], tree)
