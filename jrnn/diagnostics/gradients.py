"""Measures how gradients flow backward through time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import numerics
from jrnn.diagnostics.replay import by_example, replay
from jrnn.types import Array, Cell, Params, State

OutputLoss = Callable[[Array], Array]  # output [output_size] of one example -> scalar


def gradient_by_lag(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    *,
    loss: OutputLoss = jnp.sum,
) -> Array:
    """Returns the norm of the gradient of the last step's loss in each earlier state.

        G[lag] = || d loss(y_T) / dh_T-lag ||,    lag = 0, ..., T

    One backward pass computes all lags. For long sequences, the slope of log G is about
    the largest Lyapunov exponent.

    Args:
      cell: The cell.
      params: Its parameters.
      state: The state before the first step; None for the initial state.
      xs: Inputs [*batch, T, features].
      loss: A function of the last output [output_size] of one example.

    Returns:
      Norms over the whole state, [*batch, T + 1].

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(1, activation=jrnn.activations.identity, bias=False)
      >>> params = jrnn.cells.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), 0.5), None)
      >>> gradient_by_lag(cell, params, None, jnp.ones((3, 1))).tolist()
      [1.0, 0.5, 0.25, 0.125]
    """

    def one(state: State | None, xs: Any) -> Array:
        steps = replay(cell, params, state, xs)
        last = jax.tree.map(lambda leaf: leaf[-1], (steps.after, steps.us))
        gradient = jax.grad(lambda h: loss(cell.read(steps.params, h, last[1])))(
            last[0]
        )

        def body(gradient: State, step: Any) -> tuple[State, Array]:
            before, u = step
            _, back = jax.vjp(lambda h: cell.step(steps.params, h, u), before)
            (gradient,) = back(gradient)
            return gradient, numerics.norm(gradient).value

        pairs = (steps.before, steps.us)
        _, norms = jax.lax.scan(body, gradient, pairs, reverse=True)
        return jnp.concatenate([numerics.norm(gradient).value[None], norms[::-1]])

    return by_example(one, cell, state, xs)


def gradient_terms(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    *,
    loss: OutputLoss = jnp.sum,
) -> Params:
    """Returns the contribution of each step to the gradient of the last step's loss.

        dL/dW = sum over k of  dL/dy_T  dy_T/dh_T  dh_T/dh_k  dh_k/dW

    where dh_k/dW holds h_k-1 fixed. The k-th term is the effect of W in step k. If
    `read` uses a parameter, its direct contribution is added to the last term. With
    `state=None`, the effect on the initial state is added to the first term.

    Args:
      cell: The cell.
      params: Its parameters.
      state: The state before the first step; None for the initial state.
      xs: Inputs [*batch, T, features].
      loss: A function of the last output [output_size] of one example.

    Returns:
      A tree like `params` with leaves [*batch, T, ...]. Its sum over batch and time is
      the gradient of the loss summed over the batch.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(1, activation=jrnn.activations.identity, bias=False)
      >>> params = jrnn.cells.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), 0.5), None)
      >>> terms = gradient_terms(cell, params, None, jnp.ones((4, 1)))
      >>> terms.w_h.ravel().tolist()  # steps 1 to 4; their sum is 2.75
      [0.0, 0.25, 0.75, 1.75]
    """

    def step(params: Params, state: State, x: Any) -> State:
        ready = cell.prepare(params)
        return cell.step(ready, state, cell.project(ready, x))

    def read(params: Params, state: State, x: Any) -> Array:
        ready = cell.prepare(params)
        return loss(cell.read(ready, state, cell.project(ready, x)))

    def one(state: State | None, xs: Any) -> Params:
        steps = replay(cell, params, state, xs)
        last, x = jax.tree.map(lambda leaf: leaf[-1], (steps.after, xs))
        direct, gradient = jax.grad(read, argnums=(0, 1))(params, last, x)

        def body(gradient: State, piece: Any) -> tuple[State, Params]:
            before, x = piece
            _, back = jax.vjp(lambda p, h: step(p, h, x), params, before)
            term, gradient = back(gradient)
            return gradient, term

        first, terms = jax.lax.scan(body, gradient, (steps.before, xs), reverse=True)
        terms = jax.tree.map(lambda a, b: a.at[-1].add(b), terms, direct)
        if state is None:
            _, back = jax.vjp(cell.initial_state, params)
            terms = jax.tree.map(lambda a, b: a.at[0].add(b), terms, *back(first))
        return terms

    return by_example(one, cell, state, xs)
