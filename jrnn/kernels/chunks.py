"""Loops over time in two levels: chunks of many steps, and what is left over.

What can be done for many steps at once is done for one chunk at a time, so that its
results stay in the cache and few of them are alive together.
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jrnn.kernels.plain import Options, unroll

Step = Callable[[Any, Any], tuple[Any, Any]]
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
    body: Step,
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


class Loop(Protocol):
    """Runs `step` over chunks of time, and stacks what it returns."""

    def __call__(
        self,
        prepare: Callable[[Any], Any],
        step: Step,
        state: Any,
        inputs: Any,
        size: int,
        options: Options,
    ) -> tuple[Any, Any, Any]:
        """Runs the loop.

        Args:
          prepare: What is done for many steps at once, of leaves [steps, ...].
          step: Takes a state, and one step of the inputs and of what is prepared.
          state: State before the first step.
          inputs: Leaves [time, ...].
          size: Number of steps in a chunk.
          options: Direction and unrolling.

        Returns:
          The final state, and [time, ...] of what steps returned and was prepared.
        """
        ...


def stacked(
    prepare: Callable[[Any], Any],
    step: Step,
    state: Any,
    inputs: Any,
    size: int,
    options: Options,
) -> tuple[Any, Any, Any]:
    """A `Loop` that stacks the steps of a chunk, and then the chunks."""

    def chunk(state: Any, part: Any) -> tuple[Any, Any]:
        prepared = prepare(part)
        state, out = unroll(step, state, (part, prepared), options)
        return state, (out, prepared)

    state, parts = scan(chunk, state, cut(inputs, size), options)
    return state, *join(parts)


def in_place(
    prepare: Callable[[Any], Any],
    step: Step,
    state: Any,
    inputs: Any,
    size: int,
    options: Options,
) -> tuple[Any, Any, Any]:
    """A `Loop` that writes every step where it stays, which saves copying chunks.

    The gradient that JAX finds for it would copy the whole in every step.
    """
    time = jax.tree.leaves(inputs)[0].shape[0]
    if time <= size:
        return stacked(prepare, step, state, inputs, size, options)

    def write(carry: Any, slices: Any) -> tuple[Any, None]:
        state, whole = carry
        at, slices = slices
        state, out = step(state, slices)
        put = functools.partial(jax.lax.dynamic_update_index_in_dim, index=at, axis=0)
        return (state, jax.tree.map(put, whole, out)), None

    def chunk(carry: Any, part: Any) -> tuple[Any, Any]:
        at, part = part
        prepared = prepare(part)
        carry, _ = unroll(write, carry, (at, (part, prepared)), options)
        return carry, prepared

    def one_step(state: Any, inputs: Any) -> Any:
        slices = jax.tree.map(lambda a: a[0], (inputs, prepare(inputs)))
        return step(state, slices)[1]

    first = jax.tree.map(lambda a: a[:1], inputs)
    whole = jax.tree.map(
        lambda like: jnp.zeros_like(like, shape=(time, *like.shape)),
        jax.eval_shape(one_step, state, first),
    )
    parts = cut((jnp.arange(time), inputs), size)
    (state, whole), parts = scan(chunk, (state, whole), parts, options)
    return state, whole, join(parts)


def _one(tree: Any) -> Any:
    """Returns leaves [steps, ...] as a single chunk [1, steps, ...]."""
    return jax.tree.map(lambda a: a[None], tree)
