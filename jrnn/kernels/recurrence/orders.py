"""Orders in which the states of a linear recurrence are computed.

Each starts from a state of zeros and returns all states, time first. Half precision is
accumulated in float32.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jrnn.kernels.recurrence.rings import Matrices, Planes, Ring
from jrnn.masks import where
from jrnn.numerics import shift, wide
from jrnn.types import Array


class Steps(NamedTuple):
    """Steps `h' = a h + b`, of which those with a restart see a state of zeros."""

    a: Planes  # [T, ...]; or [1, ...], the same in every step, to be broadcast
    b: Planes
    restart: Array | None  # booleans [T, *batch]


def seen(h: Planes, restart: Array | None) -> Planes:
    """Returns the states that steps see; multiplying by 0 would keep inf and NaN."""
    return h if restart is None else where(restart, jax.tree.map(jnp.zeros_like, h), h)


def advance(ring: Ring, h: Planes, steps: Steps) -> Planes:
    """Takes one step, or each of many steps from a state of its own."""
    moved = ring.apply(steps.a, seen(h, steps.restart))
    return tuple(by + add for by, add in zip(moved, steps.b, strict=True))


def compose(ring: Ring, first: Steps, second: Steps) -> Steps:
    """Composes two steps. The factor of a step with a restart is never used."""
    restart = second.restart
    if restart is not None and first.restart is not None:
        restart = first.restart | restart
    return Steps(
        ring.compose(second.a, first.a), advance(ring, first.b, second), restart
    )


def whole(ring: Ring, steps: Steps) -> Steps:
    """Broadcasts factors to all steps."""
    shape = steps.b[0].shape
    if isinstance(ring, Matrices):
        shape = (*shape, shape[-1])
    return steps._replace(a=tuple(jnp.broadcast_to(a, shape) for a in steps.a))


def constant(steps: Steps) -> bool:
    """Whether factors are the same in every step of several."""
    return steps.a[0].shape[0] != steps.b[0].shape[0]


def scan(ring: Ring, steps: Steps, reverse: bool) -> Planes:
    """Computes one step after the other."""
    return _scan(ring, steps, _zeros(steps), reverse)


def associative(ring: Ring, steps: Steps, reverse: bool) -> Planes:
    """Composes steps in a tree of depth log T."""
    combine, like = functools.partial(compose, ring), steps.b
    steps = _widened(whole(ring, steps))
    found = lax.associative_scan(combine, steps, reverse=reverse)
    return _like(found.b, like)


def chunk(ring: Ring, steps: Steps, reverse: bool) -> Planes:
    """Runs all chunks of sqrt(T) steps in parallel, then carries across chunks."""
    time = steps.b[0].shape[0]
    length = math.isqrt(time - 1) + 1
    chunks = -(-time // length)

    def fold(leaf: Array) -> Array:  # [length, chunks, ...]
        leaf = leaf[::-1] if reverse else leaf
        missing = [(0, chunks * length - time), *[(0, 0)] * (leaf.ndim - 1)]
        folded = jnp.pad(leaf, missing).reshape(chunks, length, *leaf.shape[1:])
        return jnp.moveaxis(folded, 0, 1)

    def unfold(leaf: Array) -> Array:
        flat = jnp.moveaxis(leaf, 0, 1).reshape(-1, *leaf.shape[2:])[:time]
        return flat[::-1] if reverse else flat

    def within(carry: Steps, step: Steps) -> tuple[Steps, Steps]:
        carry = compose(ring, carry, step)
        return carry, carry

    folded = jax.tree.map(fold, _widened(whole(ring, steps)))
    _, composed = lax.scan(within, identity(ring, _at(folded, 0)), folded)
    ends = _at(composed, -1)
    starts = _zeros(ends)
    if chunks > 1:
        starts = shift(starts, _scan(ring, ends, starts, reverse=False))
    starts = jax.tree.map(lambda h, b: jnp.broadcast_to(h, b.shape), starts, composed.b)
    return _like(jax.tree.map(unfold, advance(ring, starts, composed)), steps.b)


def identity(ring: Ring, like: Steps) -> Steps:
    """Returns steps that change nothing, of the shape of others."""
    none = jax.tree.map(jnp.zeros_like, (like.b, like.restart))
    return Steps(ring.ones(like.a), *none)


def total(ring: Ring, steps: Steps, reverse: bool) -> Steps:
    """Composes all steps to one, in a tree of depth log T."""
    steps = _widened(whole(ring, steps))
    if reverse:
        steps = jax.tree.map(lambda leaf: leaf[::-1], steps)
    while (time := steps.b[0].shape[0]) > 1:
        half = time // 2
        pairs = jax.tree.map(
            lambda leaf, n=half: leaf[: 2 * n].reshape(n, 2, *leaf.shape[1:]), steps
        )
        first, second = (
            jax.tree.map(lambda leaf, side=side: leaf[:, side], pairs)
            for side in (0, 1)
        )
        joined = compose(ring, first, second)
        rest = jax.tree.map(lambda leaf, n=half: leaf[2 * n :], steps)
        steps = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), joined, rest)
    return _at(steps, 0)


def _scan(ring: Ring, steps: Steps, start: Planes, reverse: bool) -> Planes:
    fixed = None
    if constant(steps):
        fixed, steps = _widened(steps).a, steps._replace(a=())

    def body(h: Planes, step: Steps) -> tuple[Planes, Planes]:
        taken = _widened(step)
        if fixed is not None:
            taken = taken._replace(a=tuple(plane[0] for plane in fixed))
        h = advance(ring, h, taken)
        return h, _like(h, step.b)

    return lax.scan(body, start, steps, reverse=reverse)[1]


def _at(steps: Steps, index: int) -> Steps:
    return jax.tree.map(lambda leaf: leaf[index], steps)


def _zeros(steps: Steps) -> Planes:
    """Returns a state of zeros that varies over the devices as the addends do."""
    return tuple(jnp.zeros_like(b[0], wide(b)) for b in steps.b)


def _widened(steps: Steps) -> Steps:
    a, b = jax.tree.map(lambda leaf: leaf.astype(wide(leaf)), (steps.a, steps.b))
    return Steps(a, b, steps.restart)


def _like(h: Planes, like: Planes) -> Planes:
    return tuple(new.astype(old.dtype) for new, old in zip(h, like, strict=True))
