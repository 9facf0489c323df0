"""Newton's method for all steps of a sequence at once.

The states solve `h_t = f(h_t-1, u_t)`. Each iteration linearizes all steps at the
current guess and solves the linear recurrence that results. After k iterations the
first k states are exact, whatever the guess was.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jrnn.kernels.base import restarted
from jrnn.kernels.parallel.frames import Frame
from jrnn.kernels.recurrence.places import Place
from jrnn.kernels.recurrence.rings import Planes
from jrnn.kernels.recurrence.solve import solve
from jrnn.masks import where
from jrnn.types import Array, Cell, Params, State

HUGE = 1e8  # a guess beyond it has diverged


class Steps(NamedTuple):
    """The arrays of consecutive steps; those with a time axis have it first."""

    params: Params  # prepared
    state: State  # before the first step
    fresh: State  # what a restart begins from
    us: Any  # projected inputs [L, *batch, ...]
    keep: Array | None  # [L, *batch]
    restart: Array | None  # [L, *batch], False where a step does nothing


class System(NamedTuple):
    """What to solve, and how; static."""

    cell: Cell
    frame: Frame
    reverse: bool
    order: str  # of the linear recurrence
    place: Place  # of the steps


class Point(NamedTuple):
    """A guess, and the steps linearized there."""

    h: Planes
    after: Planes  # one step from the state before, which the guess should equal
    factors: Planes  # Jacobians of the steps
    residual: Array  # scalar: how far the guess is from `after`
    iterations: Array  # scalar


def step_all(system: System, steps: Steps, old: State) -> State:
    """Takes each step from a state of its own, [L, *batch, ...]."""
    start = begin(steps, old)
    after = jax.vmap(system.cell.step, in_axes=(None, 0, 0))(
        steps.params, start, steps.us
    )
    return after if steps.keep is None else where(steps.keep, after, old)


def begin(steps: Steps, old: State) -> State:
    """Replaces the states before which there is a restart."""
    fresh = jax.tree.map(
        lambda new, leaf: jnp.broadcast_to(new, leaf.shape), steps.fresh, old
    )
    return restarted(old, fresh, steps.restart)


def jacobians(system: System, steps: Steps, old: State) -> tuple[Planes, Planes]:
    """Returns the states after all steps, and the factors of their linear recurrence.

    The factor of a step with a restart is that of its fresh state, and is not used.
    """
    frame = system.frame

    def step(state: State) -> State:
        return jax.vmap(system.cell.step, in_axes=(None, 0, 0))(
            steps.params, state, steps.us
        )

    after, factors = frame.linearize(step, begin(steps, old))
    if steps.keep is not None:
        after = where(steps.keep, after, frame.pack(old))
        factors = where(steps.keep, factors, frame.ring.ones(factors))
    return after, factors


def linear(
    system: System, steps: Steps, factors: Planes, addends: Planes, h0: Planes
) -> Planes:
    """Solves the linear recurrence of the steps."""
    how: Any = {"reverse": system.reverse, "method": system.order}
    how["place"] = system.place
    return solve(system.frame.ring, factors, addends, h0, steps.restart, **how)


def before(system: System, steps: Steps, h: Planes) -> State:
    """Returns the states before all steps, given those after them."""
    return system.place.shift(steps.state, system.frame.unpack(h), system.reverse)


def residual(after: Planes, h: Planes) -> Array:
    """Returns the largest relative difference of states and what steps return."""
    gaps = [jnp.abs(a - b) / (1 + jnp.abs(b)) for a, b in zip(after, h, strict=True)]
    return jnp.max(jnp.stack([jnp.max(gap, initial=0) for gap in gaps]))


def evaluate(system: System, steps: Steps, h: Planes, iterations: Array) -> Point:
    """Linearizes all steps at a guess, and compares it with what the steps return."""
    after, factors = jacobians(system, steps, before(system, steps, h))
    return Point(h, after, factors, residual(after, h), iterations)


def update(system: System, steps: Steps, point: Point) -> Planes:
    """Returns the next guess: the states of the linearized steps."""
    frame = system.frame
    h0 = frame.pack(steps.state)
    old = system.place.shift(h0, point.h, system.reverse)
    moved = frame.ring.apply(point.factors, old)
    addends = tuple(a - by for a, by in zip(point.after, moved, strict=True))
    if steps.restart is not None:
        addends = where(steps.restart, point.after, addends)
    if steps.keep is not None:
        addends = where(steps.keep, addends, jax.tree.map(jnp.zeros_like, addends))
    return linear(system, steps, point.factors, addends, h0)


def guess(system: System, steps: Steps) -> Planes:
    """Returns the states after each step from zeros; zero where they are not finite."""
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros((_length(steps), *leaf.shape), leaf.dtype), steps.state
    )
    return finite(system.frame.pack(step_all(system, steps, zeros)))


def finite(h: Planes, otherwise: Planes | None = None) -> Planes:
    """Replaces what is not finite or huge; the states that are exact stay."""
    instead = otherwise or tuple(jnp.zeros_like(leaf) for leaf in h)
    return tuple(
        jnp.where(jnp.isfinite(a) & (jnp.abs(a) < HUGE), a, b)
        for a, b in zip(h, instead, strict=True)
    )


def iterate(
    system: System,
    steps: Steps,
    start: Planes,
    tolerance: float,
    most: int,
) -> Point:
    """Iterates until the residual is at most the tolerance, or `most` times.

    Args:
      system: What to solve.
      steps: The steps.
      start: The first guess.
      tolerance: The bound of the residual.
      most: The largest number of iterations.
    """
    start = finite(start)

    def at(h: Planes, number: Array) -> Point:
        point = evaluate(system, steps, h, number)
        return point._replace(residual=system.place.largest(point.residual))

    def going_on(point: Point) -> Array:
        solved = point.residual <= tolerance  # False for NaN
        return ~solved & (point.iterations < most)

    def body(point: Point) -> Point:
        moved = finite(update(system, steps, point), start)
        return at(moved, point.iterations + 1)

    return lax.while_loop(going_on, body, at(start, jnp.zeros((), jnp.int32)))


def _length(steps: Steps) -> int:
    return jax.tree.leaves(steps.us)[0].shape[0]
