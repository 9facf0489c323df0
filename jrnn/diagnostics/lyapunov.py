"""Lyapunov exponents: the growth rates of small perturbations of the state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.diagnostics.jacobians import block_maker
from jrnn.diagnostics.replay import by_example, replay
from jrnn.types import Array, Cell, Params, State


class Lyapunov(NamedTuple):
    """Lyapunov exponents in nats per step, in descending order."""

    exponents: Array  # [*batch, n]
    running: Array  # [*batch, steps, n], the estimate after each counted step


def lyapunov_spectrum(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    *,
    exponents: int | None = None,
    transient: int = 0,
) -> Lyapunov:
    """Returns the Lyapunov exponents of a cell for a sequence of inputs.

        Q_t R_t = qr(J_t Q_t-1),    exponent_i = mean over t of log |(R_t)_ii|

    If an exponent is positive, the network is chaotic and gradients explode. If all are
    negative, gradients vanish with a time constant of `memory_horizon` steps [1, 2].
    For cells with a diagonal or block structure, each unit is computed separately; the
    result is exact.

    Args:
      cell: The cell.
      params: Its parameters.
      state: The state before the first step; None for the initial state.
      xs: Inputs [*batch, T, features].
      exponents: The number of largest exponents to return; None for all. For dense
        cells, fewer exponents are faster.
      transient: The number of steps at the start that update Q but are not counted.

    Returns:
      The exponents and their running estimates. If the Jacobian is singular, for
      example because a ReLU unit is inactive, an exponent is minus infinity.

    Raises:
      ValueError: If no step is left to count, or `exponents` is out of range.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(2, activation=jrnn.activations.identity, bias=False)
      >>> w_h = jnp.array([[0.5, 0.0], [0.0, 2.0]])
      >>> params = jrnn.cells.ElmanParams(jnp.ones((1, 2)), w_h, None)
      >>> found = lyapunov_spectrum(cell, params, None, jnp.ones((10, 1)))
      >>> [round(float(e), 4) for e in found.exponents]  # log 2 and log 1/2
      [0.6931, -0.6931]

    References:
      [1] Benettin et al., 1980, https://doi.org/10.1007/BF02128236
      [2] Vogt et al., 2022, https://doi.org/10.3389/fams.2022.818799
    """
    transient = checks.integer("transient", transient, 0)
    if exponents is not None:
        exponents = checks.integer("exponents", exponents, 1)

    def one(state: State | None, xs: Any) -> Lyapunov:
        steps = replay(cell, params, state, xs)
        first = jax.tree.map(lambda leaf: leaf[0], steps.before)
        blocks = block_maker(cell, first)
        time = jax.tree.leaves(steps.us)[0].shape[0]
        checks.at_least(
            "the number of time steps after the transient", time - transient, 1
        )
        shape = jax.eval_shape(
            lambda pieces: blocks(steps.params, *pieces),
            jax.tree.map(lambda leaf: leaf[0], (steps.before, steps.us)),
        )
        units, size, _ = shape.shape
        wanted = units * size if exponents is None else exponents
        if wanted > units * size:
            raise ValueError(
                f"exponents must be between 1 and {units * size}, the number of state "
                f"elements, got {wanted}."
            )
        width = min(wanted, size)

        def body(q: Array, piece: Any) -> tuple[Array, Array]:
            q, r = jnp.linalg.qr(blocks(steps.params, *piece) @ q)
            return q, jnp.log(jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1))).reshape(-1)

        start = jnp.broadcast_to(
            jnp.eye(size, width, dtype=shape.dtype), (units, size, width)
        )
        _, growth = jax.lax.scan(body, start, (steps.before, steps.us))
        growth = growth[transient:]
        counts = jnp.arange(1, growth.shape[0] + 1, dtype=growth.dtype)
        running = jnp.cumsum(growth, axis=0) / counts[:, None]
        order = jnp.argsort(-running[-1])[:wanted]
        return Lyapunov(running[-1][order], running[:, order])

    return by_example(one, cell, state, xs)


def memory_horizon(exponent: Array) -> Array:
    """Returns the number of steps in which a gradient shrinks by a factor of e.

        -1 / exponent,    infinite if the exponent is not negative

    Args:
      exponent: The largest Lyapunov exponent, or the slope of the logarithm of
        `gradient_by_lag`, in nats per step.

    Returns:
      The number of steps, with the shape of `exponent`.

    Example:
      >>> import jax.numpy as jnp
      >>> memory_horizon(jnp.array([-0.5, -0.01, 0.2])).tolist()
      [2.0, 100.0, inf]
    """
    exponent = jnp.asarray(exponent)
    fading = exponent < 0
    return jnp.where(fading, -1 / jnp.where(fading, exponent, -1), jnp.inf)
