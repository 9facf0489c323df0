"""All steps of one window: Newton's method, a fallback, and an exact derivative."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jrnn.kernels.parallel import newton
from jrnn.kernels.parallel.frames import typed
from jrnn.kernels.parallel.newton import Steps, System
from jrnn.kernels.recurrence.rings import Planes
from jrnn.types import Array, State


class ParallelInfo(NamedTuple):
    """How Newton's method converged, for each window in the order of time.

    A window that did not converge was computed step by step: its states are those of
    the scan, and the residual is that of the last guess.
    """

    iterations: Array  # [windows] integers; one more follows when it has converged
    residual: Array  # [windows] largest |h_t - f(h_t-1)| / (1 + |h_t|) before that one
    converged: Array  # [windows] booleans: the residual is at most the tolerance


class Bounds(NamedTuple):
    """When to stop; static."""

    tolerance: float
    iterations: int


def solve_window(
    system: System, bounds: Bounds, steps: Steps
) -> tuple[State, ParallelInfo]:
    """Returns the states after all steps, [L, *batch, ...].

    The derivative is that of the equations that the states solve:

        dh_t = J_t dh_t-1 + (df/dparams dparams + df/du du)_t

    which is one more linear recurrence, exact at the solution whatever was iterated.
    """
    states, iterations, residual = _solve(system, bounds, steps)
    converged = residual <= bounds.tolerance
    return states, ParallelInfo(iterations.astype(jnp.int32), residual, converged)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _solve(system: System, bounds: Bounds, steps: Steps) -> tuple[State, Array, Array]:
    """Returns states, number of iterations and residual, all of floating point."""
    start = newton.guess(system, steps)
    point = newton.iterate(system, steps, start, *bounds)
    states = lax.cond(
        point.residual <= bounds.tolerance,
        lambda: system.frame.unpack(newton.update(system, steps, point)),
        lambda: one_by_one(system, steps),
    )
    return states, point.iterations.astype(jnp.float32), point.residual


@_solve.defjvp
def _tangent(system: System, bounds: Bounds, primals: Any, tangents: Any) -> Any:
    (steps,), (moves,) = primals, tangents
    states, *counts = _solve(system, bounds, steps)
    frozen, known = jax.tree.map(_once, (steps, states))
    frame = system.frame
    before = newton.before(system, frozen, frame.pack(known))
    _, factors = newton.jacobians(system, frozen, before)

    def explicit(params: Any, us: Any, fresh: State) -> Planes:
        changed = frozen._replace(params=params, us=us, fresh=fresh)
        return frame.pack(newton.step_all(system, changed, before))

    _, addends = jax.jvp(
        explicit,
        (frozen.params, frozen.us, frozen.fresh),
        (moves.params, moves.us, moves.fresh),
    )
    first = frame.pack(moves.state)
    change = newton.linear(system, frozen, factors, addends, first)
    still = [typed(jnp.zeros_like(count), count) for count in counts]
    return (states, *counts), (frame.unpack(change), *still)


def one_by_one(system: System, steps: Steps) -> State:
    """Computes the states by a loop over time."""

    def body(state: State, slices: Any) -> tuple[State, State]:
        us, keep, restart = jax.tree.map(lambda leaf: leaf[None], slices)
        one = steps._replace(us=us, keep=keep, restart=restart)
        before = jax.tree.map(lambda leaf: leaf[None], state)
        after = newton.step_all(system, one, before)
        after = jax.tree.map(lambda leaf: leaf[0], after)
        return after, after

    def piece(state: State) -> State:
        slices = (steps.us, steps.keep, steps.restart)
        return lax.scan(body, state, slices, reverse=system.reverse)[1]

    return system.place.pass_on(steps.state, piece, system.reverse)


@jax.custom_jvp
def _once(leaf: Array) -> Array:
    return leaf


@_once.defjvp
def _twice(primals: Any, tangents: Any) -> Any:
    del primals, tangents
    raise NotImplementedError(
        "method='parallel' has first derivatives only, in forward and reverse mode. "
        "For second derivatives use method='scan'."
    )
