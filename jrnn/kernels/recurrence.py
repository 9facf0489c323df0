"""Recurrences that are linear in the state, `h' = a * h + b`, in several orders."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jrnn import checks, masks
from jrnn.masks import where
from jrnn.numerics import shift
from jrnn.types import Array

LONG = 512  # steps from which a parallel order can pay on an accelerator
NARROW = 4096  # elements in one step below which sequential steps leave a device idle

Step = tuple[Array, Array, Any]  # factor, addend, and restart flag or None


def linear_recurrence(
    a: Array,
    b: Array,
    h0: Array | None = None,
    *,
    reset: Array | None = None,
    reverse: bool = False,
    method: str = "auto",
) -> Array:
    """Computes `h_t = a_t * h_t-1 + b_t`, elementwise, for all t.

    Derivatives of every order, in both modes, are linear recurrences again. The one for
    the gradient of b runs in the other direction, with factors shifted by one step.
    They save only a and h.

    Args:
      a: Factors [*batch, time, features], real or complex.
      b: Addends, of the shape of `a`.
      h0: State before the first step [*batch, features]; None for zeros.
      reset: Booleans [*batch, time]. Where True the state is zero before the step, even
        if it was infinite or NaN.
      reverse: Whether to run from the last step to the first. A reset at t acts between
        t and t-1 in either direction.
      method: "scan", one step after the other; "associative", a tree of depth log T;
        "chunked", chunks of sqrt(T) steps in parallel, then their borders; "auto" is
        "scan" on a CPU and where steps are few or wide, and "associative" elsewhere, or
        "chunked" for complex arrays, whose tree is slow to compile.

    Returns:
      The states h [*batch, time, features].

    Raises:
      ValueError: if shapes or the method do not fit.
      TypeError: if `reset` is not boolean.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> a, b = jnp.full((4, 1), 0.5), jnp.ones((4, 1))
      >>> jrnn.linear_recurrence(a, b)[:, 0].tolist()
      [1.0, 1.5, 1.75, 1.875]
      >>> h0 = jnp.array([8.0])
      >>> jrnn.linear_recurrence(a, b, h0, reverse=True)[:, 0].tolist()
      [2.375, 2.75, 3.5, 5.0]
    """
    checks.one_of("method", method, ["auto", *ORDERS])
    a, b = jnp.asarray(a), jnp.asarray(b)
    checks.same_structure("b", b, a, "a and b are [*batch, time, features].")
    batch, time = checks.sequence_axes(a, 1, time_major=False)
    zeros = jnp.zeros((*batch, b.shape[-1]), b.dtype)
    h0 = zeros if h0 is None else h0
    checks.same_structure("h0", h0, zeros, "h0 is [*batch, features].")
    dtype = jnp.result_type(a, b, h0)
    axis = len(batch)
    a, b = (jnp.moveaxis(leaf.astype(dtype), axis, 0) for leaf in (a, b))
    restart = None
    if reset is not None:
        reset = jnp.asarray(reset)
        checks.flags("reset", reset, batch, time, major=False)
        restart = masks.restarts(jnp.moveaxis(reset, axis, 0), None, reverse)
    hs = solve(a, b, jnp.asarray(h0, dtype), restart, reverse=reverse, method=method)
    return jnp.moveaxis(hs, 0, axis)


def solve(
    a: Array,
    b: Array,
    h0: Array,
    restart: Array | None = None,
    *,
    reverse: bool = False,
    method: str = "auto",
) -> Array:
    """Computes `linear_recurrence` with time first: a and b [T, ...], h0 [...].

    Where `restart` [T, *batch] is True, the state before the step counts as zero. The
    states solve the triangular system `h - a * (h one step before) = b`. JAX derives
    every derivative from that equation, and calls back for the transposed system:

        g_t = λ_t - a_t+1 * λ_t+1

    which is the recurrence in the other direction, with factors and restart flags
    shifted by one step.
    """
    if not b.shape[0]:
        return b
    order = ORDERS[choose(b) if method == "auto" else method]
    first = -1 if reverse else 0
    start = jax.tree.map(lambda leaf: leaf[first], (a, b, restart))
    b = lax.dynamic_update_index_in_dim(b, _step(h0, start), first, axis=0)
    zero = jnp.zeros_like(b[0])  # once h0 is in the first addend

    def system(h: Array) -> Array:
        return h - a * _seen(shift(zero, h, reverse), restart)

    def solution(_: Any, b: Array) -> Array:
        return order((a, b, restart), zero, reverse)

    def transposed(_: Any, g: Array) -> Array:
        moved, restarts = jax.tree.map(
            lambda leaf: shift(jnp.zeros_like(leaf[0]), leaf, not reverse), (a, restart)
        )
        return order((moved, g, restarts), zero, not reverse)

    return lax.custom_linear_solve(system, b, solution, transposed)


def choose(b: Array) -> str:
    """Returns the order that computes addends [T, ...] fastest.

    On a CPU of two cores, float32, milliseconds forward and with all gradients:

        T, elements in a step  scan        associative   chunked
        4096, 64               0.5, 1.6    0.8, 2.7      0.7, 1.7
        4096, 1024             4.3, 24     39, 132       32, 67
        256, 4096              1.0, 4.1    3.8, 16       3.1, 12

    and the tree took 4 to 17 times as long to compile. On accelerators it is known to
    pay for long sequences of narrow steps; the bounds are not measured there.
    """
    narrow = math.prod(b.shape[1:]) < NARROW
    if jax.default_backend() == "cpu" or b.shape[0] < LONG or not narrow:
        return "scan"
    return "chunked" if jnp.iscomplexobj(b) else "associative"


def _seen(h: Array, restart: Array | None) -> Array:
    """Returns the state that a step sees; multiplying by 0 would keep inf and NaN."""
    return h if restart is None else where(restart, jnp.zeros_like(h), h)


def _step(h: Array, step: Step) -> Array:
    a, b, restart = step
    return a * _seen(h, restart) + b


def _compose(first: Step, second: Step) -> Step:
    """Composes two steps. The factor of a step with a restart is never used."""
    restart = None if second[2] is None else first[2] | second[2]
    return first[0] * second[0], _step(first[1], second), restart


def _scan(steps: Step, h0: Array, reverse: bool) -> Array:
    def body(h: Array, step: Step) -> tuple[Array, Array]:
        h = _step(h, step)
        return h, h

    return lax.scan(body, h0, steps, reverse=reverse)[1]


def _associative(steps: Step, h0: Array, reverse: bool) -> Array:
    whole = lax.associative_scan(_compose, steps, reverse=reverse)
    return _step(jnp.broadcast_to(h0, whole[1].shape), whole)


def _chunked(steps: Step, h0: Array, reverse: bool) -> Array:
    """Runs all chunks in parallel from zero, then carries the state across chunks."""
    time, *shape = steps[1].shape
    length = math.isqrt(time - 1) + 1
    chunks = -(-time // length)

    def fold(leaf: Array) -> Array:  # [length, chunks, ...]
        leaf = leaf[::-1] if reverse else leaf
        missing = [(0, chunks * length - time), *[(0, 0)] * (leaf.ndim - 1)]
        folded = jnp.pad(leaf, missing).reshape(chunks, length, *leaf.shape[1:])
        return jnp.moveaxis(folded, 0, 1)

    def within(carry: Step, step: Step) -> tuple[Step, Step]:
        carry = _compose(carry, step)
        return carry, carry

    a, b, restart = jax.tree.map(fold, steps)
    none = None if restart is None else jnp.zeros_like(restart[0])
    identity = jnp.ones_like(a[0]), jnp.zeros_like(b[0]), none
    _, whole = lax.scan(within, identity, (a, b, restart))
    ends = _scan(jax.tree.map(lambda leaf: leaf[-1], whole), h0, reverse=False)
    starts = shift(h0, ends)
    hs = _step(jnp.broadcast_to(starts, whole[1].shape), whole)
    hs = jnp.moveaxis(hs, 0, 1).reshape(chunks * length, *shape)[:time]
    return hs[::-1] if reverse else hs


ORDERS = {"scan": _scan, "associative": _associative, "chunked": _chunked}
