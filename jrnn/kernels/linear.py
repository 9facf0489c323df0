"""Recurrences that are linear in the state, `h' = a * h + b`, in several orders."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jrnn import checks, masks
from jrnn.kernels.plain import Inputs, Options, Trajectory, project
from jrnn.masks import where
from jrnn.types import Array, Cell, LinearCell, Params, State

LONG = 512  # steps from which a parallel order can pay on an accelerator
NARROW = 4096  # numbers in one step below which it finds the device idle


def linear_recurrence(
    a: Array,
    b: Array,
    h0: Array | None = None,
    *,
    reset: Array | None = None,
    reverse: bool = False,
    method: str = "auto",
) -> Array:
    """Computes `h_t = a_t * h_t-1 + b_t`, number by number, for all t.

    Derivatives, of every order and in both modes, are linear recurrences again: that of
    the gradient of b runs the other way, over the factors moved by one step. They store
    a and h alone.

    Args:
      a: Factors [*batch, time, features], real or complex.
      b: Addends, of the shape of `a`.
      h0: State before the first step [*batch, features]; None for zeros.
      reset: Booleans [*batch, time]. Where True the state is zero before the step.
      reverse: Whether to run from the last step to the first. A reset at t cuts between
        t and t-1 in either direction.
      method: "scan", one step after the other; "associative", a tree of depth log T;
        "chunked", stretches of sqrt(T) steps side by side, then their borders; "auto"
        for "scan" on a CPU and wherever steps are few or wide, "associative" otherwise,
        or "chunked" for complex numbers, whose tree is slow to compile.

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
    checks.one_of("method", method, ["auto", *_ORDERS])
    a, b = jnp.asarray(a), jnp.asarray(b)
    checks.same_structure("b", b, a, "a and b are [*batch, time, features].")
    batch, time = checks.sequence_axes(a, 1, time_major=False)
    zeros = jnp.zeros((*batch, b.shape[-1]), b.dtype)
    h0 = zeros if h0 is None else h0
    checks.same_structure("h0", h0, zeros, "h0 is [*batch, features].")
    dtype = jnp.result_type(a, b, h0)
    axis = len(batch)
    a, b = (jnp.moveaxis(leaf.astype(dtype), axis, 0) for leaf in (a, b))
    if reset is not None:
        reset = jnp.asarray(reset)
        checks.flags("reset", reset, batch, time, major=False)
        restart = masks.restarts(jnp.moveaxis(reset, axis, 0), None, reverse)
        a = a if restart is None else where(restart, jnp.zeros_like(a), a)
    hs = solve(a, b, jnp.asarray(h0, dtype), reverse=reverse, method=method)
    return jnp.moveaxis(hs, 0, axis)


def run(
    cell: LinearCell,
    params: Params,
    state: State,
    fresh: State,
    inputs: Inputs,
    options: Options,
) -> Trajectory:
    """Runs a linear cell along time; what `plain.run` takes and returns.

    A step that is padding is `h' = 1 * h + 0`, and one after a restart has no factor:
    `h' = 0 * h + (a * fresh + b)`.
    """
    us = project(cell, params, inputs)
    factors, addends = map(jax.tree.leaves, cell.coefficients(params, us))
    starts, news = (_join(tree, factors) for tree in (state, fresh))
    solved = []
    for a, b, h0, new in zip(factors, addends, starts, news, strict=True):
        if inputs.restart is not None:
            b = where(inputs.restart, a * new + b, b)
            a = where(inputs.restart, jnp.zeros_like(a), a)
        if inputs.keep is not None:
            a = where(inputs.keep, a, jnp.ones_like(a))
            b = where(inputs.keep, b, jnp.zeros_like(b))
        solved.append(solve(a, b, h0, reverse=options.reverse))
    states = _part(solved, state)
    final, last = state, 0 if options.reverse else -1
    if solved[0].shape[0]:
        final = jax.tree.map(lambda leaf: leaf[last], states)
    ys = cell.read(params, states, us) if options.outputs else None
    return Trajectory(final, states if options.states else None, ys)


def refusal(cell: Cell, inputs: Inputs, options: Options) -> str | None:
    """Returns why this kernel cannot run a cell, or None where it can."""
    del inputs, options
    if not isinstance(cell, LinearCell):
        return f"needs a cell with `coefficients`, which {cell} has not"
    return None


def pays(state: State) -> bool:
    """Whether this kernel is faster than the plain scan.

    It was on a CPU, in its gradient, for real numbers: 1.2 to 3.3 times. Pairs that
    stand for complex numbers took 1.5 times as long as in the plain scan of `LRU(128)`,
    at T, B = 1024, 16 and 256, 32, and up to twice the memory.
    """
    return jax.default_backend() != "cpu" or len(jax.tree.leaves(state)) == 1


def solve(
    a: Array, b: Array, h0: Array, *, reverse: bool = False, method: str = "auto"
) -> Array:
    """Computes `linear_recurrence` with time first: a and b [T, ...], h0 [...].

    The states solve the triangular system `h - a * (h one step before) = b`. JAX gets
    every derivative from that equation, and calls back for the transposed system:

        g_t = λ_t - a_t+1 * λ_t+1

    which is the recurrence run the other way, with the factors moved by one step.
    """
    if not b.shape[0]:
        return b
    order = _ORDERS[choose(b) if method == "auto" else method]
    first = -1 if reverse else 0
    b = lax.dynamic_update_index_in_dim(b, b[first] + a[first] * h0, first, axis=0)
    zero = jnp.zeros_like(b[0])  # once h0 is in the first addend

    def system(h: Array) -> Array:
        return h - a * _before(h, zero, reverse)

    def solution(_: Any, b: Array) -> Array:
        return order(a, b, zero, reverse)

    def transposed(_: Any, g: Array) -> Array:
        return order(_before(a, zero, not reverse), g, zero, not reverse)

    return lax.custom_linear_solve(system, b, solution, transposed)


def choose(b: Array) -> str:
    """Returns the order that computes addends [T, ...] fastest.

    On a CPU of two cores, float32, milliseconds forward and with all gradients:

        T, numbers in a step   scan        associative   chunked
        4096, 64               0.5, 1.6    0.8, 2.7      0.7, 1.7
        4096, 1024             4.3, 24     39, 132       32, 67
        256, 4096              1.0, 4.1    3.8, 16       3.1, 12

    and the tree took 4 to 17 times as long to compile. On accelerators it is known to
    pay for long sequences of narrow steps; there the bounds are not measured.
    """
    narrow = math.prod(b.shape[1:]) < NARROW
    if jax.default_backend() == "cpu" or b.shape[0] < LONG or not narrow:
        return "scan"
    return "chunked" if jnp.iscomplexobj(b) else "associative"


def _before(h: Array, start: Array, reverse: bool) -> Array:
    """Returns the state before each step: h moved by one, `start` at the border."""
    if reverse:
        return jnp.concatenate([h[1:], start[None]])
    return jnp.concatenate([start[None], h[:-1]])


def _join(state: State, factors: list[Array]) -> list[Array]:
    """Returns the arrays of a state: its leaves, or one complex array for a pair."""
    leaves = jax.tree.leaves(state)
    if len(leaves) == len(factors):
        return leaves
    re, im = (leaf.astype(factors[0].real.dtype) for leaf in leaves)
    return [lax.complex(re, im)]


def _part(hs: list[Array], state: State) -> State:
    """Undoes `_join`, for states [T, ...]."""
    leaves, structure = jax.tree.flatten(state)
    if len(leaves) != len(hs):
        hs = [hs[0].real, hs[0].imag]
    typed = [h.astype(leaf.dtype) for h, leaf in zip(hs, leaves, strict=True)]
    return jax.tree.unflatten(structure, typed)


def _scan(a: Array, b: Array, h0: Array, reverse: bool) -> Array:
    def body(h: Array, slices: tuple[Array, Array]) -> tuple[Array, Array]:
        a, b = slices
        h = a * h + b
        return h, h

    return lax.scan(body, h0, (a, b), reverse=reverse)[1]


def _associative(a: Array, b: Array, h0: Array, reverse: bool) -> Array:
    factor, addend = lax.associative_scan(_compose, (a, b), reverse=reverse)
    return factor * h0 + addend


def _compose(first: Any, second: Any) -> Any:
    """Composes two steps, each a pair (factor, addend)."""
    return first[0] * second[0], second[0] * first[1] + second[1]


def _chunked(a: Array, b: Array, h0: Array, reverse: bool) -> Array:
    """Runs all chunks at once from zero, then carries the state over their borders."""
    time = b.shape[0]
    length = math.isqrt(time - 1) + 1
    chunks = -(-time // length)
    if reverse:
        a, b = a[::-1], b[::-1]
    missing = [(0, chunks * length - time), *[(0, 0)] * (b.ndim - 1)]
    a, b = (
        jnp.moveaxis(leaf.reshape(chunks, length, *b.shape[1:]), 0, 1)
        for leaf in (jnp.pad(a, missing), jnp.pad(b, missing))
    )  # [length, chunks, ...]

    def within(carry: Any, step: Any) -> Any:
        carry = _compose(carry, step)
        return carry, carry

    identity = jnp.ones_like(a[0]), jnp.zeros_like(b[0])
    _, (factor, addend) = lax.scan(within, identity, (a, b))
    ends = _scan(factor[-1], addend[-1], h0, reverse=False)
    hs = factor * _before(ends, h0, reverse=False) + addend
    hs = jnp.moveaxis(hs, 0, 1).reshape(chunks * length, *b.shape[2:])[:time]
    return hs[::-1] if reverse else hs


_ORDERS = {"scan": _scan, "associative": _associative, "chunked": _chunked}
