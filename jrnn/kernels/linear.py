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

Step = tuple[Array, Array, Any]  # factor, addend, and whether it is cut off; or None


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
      reset: Booleans [*batch, time]. Where True the state is zero before the step,
        whatever it was, infinite and NaN included.
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
    cut = None
    if reset is not None:
        reset = jnp.asarray(reset)
        checks.flags("reset", reset, batch, time, major=False)
        cut = masks.restarts(jnp.moveaxis(reset, axis, 0), None, reverse)
    hs = solve(a, b, jnp.asarray(h0, dtype), cut, reverse=reverse, method=method)
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

    A step that is padding is `h' = 1 * h + 0`, and one after a restart is cut off from
    the state before it: `h' = a * 0 + (a * fresh + b)`.
    """
    us = project(cell, params, inputs)
    factors, addends = map(jax.tree.leaves, cell.coefficients(params, us))
    starts, news = (_join(tree, factors) for tree in (state, fresh))
    cut = inputs.restart
    if cut is not None and inputs.keep is not None:
        cut = cut & inputs.keep
    solved = []
    for a, b, h0, new in zip(factors, addends, starts, news, strict=True):
        if inputs.restart is not None:
            b = where(inputs.restart, a * new + b, b)
        if inputs.keep is not None:
            a = where(inputs.keep, a, jnp.ones_like(a))
            b = where(inputs.keep, b, jnp.zeros_like(b))
        solved.append(solve(a, b, h0, cut, reverse=options.reverse))
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
    a: Array,
    b: Array,
    h0: Array,
    cut: Array | None = None,
    *,
    reverse: bool = False,
    method: str = "auto",
) -> Array:
    """Computes `linear_recurrence` with time first: a and b [T, ...], h0 [...].

    Where `cut` [T, *batch] is True, the state before the step counts as zero. The
    states solve the triangular system `h - a * (h one step before) = b`. JAX gets every
    derivative from that equation, and calls back for the transposed system:

        g_t = λ_t - a_t+1 * λ_t+1

    which is the recurrence run the other way, with factors and cuts moved by one step.
    """
    if not b.shape[0]:
        return b
    order = _ORDERS[choose(b) if method == "auto" else method]
    first = -1 if reverse else 0
    start = jax.tree.map(lambda leaf: leaf[first], (a, b, cut))
    b = lax.dynamic_update_index_in_dim(b, _step(h0, start), first, axis=0)
    zero = jnp.zeros_like(b[0])  # once h0 is in the first addend

    def system(h: Array) -> Array:
        return h - a * _uncut(_before(h, zero, reverse), cut)

    def solution(_: Any, b: Array) -> Array:
        return order((a, b, cut), zero, reverse)

    def transposed(_: Any, g: Array) -> Array:
        moved, cuts = jax.tree.map(
            lambda leaf: _before(leaf, jnp.zeros_like(leaf[0]), not reverse), (a, cut)
        )
        return order((moved, g, cuts), zero, not reverse)

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


def _uncut(h: Array, cut: Array | None) -> Array:
    """Returns the state that a step sees: a product with 0 would keep inf and NaN."""
    return h if cut is None else where(cut, jnp.zeros_like(h), h)


def _step(h: Array, step: Step) -> Array:
    a, b, cut = step
    return a * _uncut(h, cut) + b


def _compose(first: Step, second: Step) -> Step:
    """Composes two steps; the factor of one with a cut is never used."""
    cut = None if second[2] is None else first[2] | second[2]
    return first[0] * second[0], _step(first[1], second), cut


def _scan(steps: Step, h0: Array, reverse: bool) -> Array:
    def body(h: Array, step: Step) -> tuple[Array, Array]:
        h = _step(h, step)
        return h, h

    return lax.scan(body, h0, steps, reverse=reverse)[1]


def _associative(steps: Step, h0: Array, reverse: bool) -> Array:
    whole = lax.associative_scan(_compose, steps, reverse=reverse)
    return _step(jnp.broadcast_to(h0, whole[1].shape), whole)


def _chunked(steps: Step, h0: Array, reverse: bool) -> Array:
    """Runs all chunks at once from zero, then carries the state over their borders."""
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

    a, b, cut = jax.tree.map(fold, steps)
    none = None if cut is None else jnp.zeros_like(cut[0])
    identity = jnp.ones_like(a[0]), jnp.zeros_like(b[0]), none
    _, whole = lax.scan(within, identity, (a, b, cut))
    ends = _scan(jax.tree.map(lambda leaf: leaf[-1], whole), h0, reverse=False)
    starts = _before(ends, h0, reverse=False)
    hs = _step(jnp.broadcast_to(starts, whole[1].shape), whole)
    hs = jnp.moveaxis(hs, 0, 1).reshape(chunks * length, *shape)[:time]
    return hs[::-1] if reverse else hs


_ORDERS = {"scan": _scan, "associative": _associative, "chunked": _chunked}
