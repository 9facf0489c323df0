"""Gates: how open they are, how often they saturate, how long a unit remembers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.diagnostics.replay import by_example, replay
from jrnn.forms import Form, gates_of
from jrnn.types import Array, Cell, Params, State


class Saturation(NamedTuple):
    """How a gate is used, unit by unit, over a batch and its time steps."""

    closed: Array  # [H] fraction of steps below the low mark
    open: Array  # [H] fraction of steps above the high mark
    mean: Array  # [H] mean value


def gates(cell: Cell, params: Params, state: State | None, xs: Any) -> dict[str, Array]:
    """Returns the values of a cell's gates at every step.

    A cell defines its gates in the field `gates` of its form; see `jrnn.forms`.
    Wrappers keep them.

    Args:
      cell: The cell.
      params: Its parameters.
      state: State before the first step; None for the initial state.
      xs: Inputs [*batch, T, features].

    Returns:
      Arrays [*batch, T, H] in [0, 1] by the names of the cell's docstring.

    Raises:
      TypeError: if the form of the cell names no gates.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LSTM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> found = gates(cell, params, None, jnp.ones((2, 5, 3)))
      >>> sorted(found), found["f"].shape
      (['f', 'i', 'o'], (2, 5, 4))
    """
    if cell.form.gates is None:
        raise TypeError(
            f"cell must name its gates in `cell.form.gates`, but {cell} does not. "
            "`jrnn.LSTM` and `jrnn.GRU` do."
        )

    def one(state: State | None, xs: Any) -> dict[str, Array]:
        steps = replay(cell, params, state, xs)
        show = jax.vmap(lambda state, u: show_gates(cell.form, steps.params, state, u))
        return show(steps.before, steps.us)

    return by_example(one, cell, state, xs)


def show_gates(form: Form, params: Params, state: State, u: Any) -> dict[str, Array]:
    """Returns the gates of one step by name, for prepared parameters."""
    show = gates_of(form)
    return {} if show is None else show(params, state, u)


def gate_saturation(
    values: Array, *, low: float = 0.1, high: float = 0.9
) -> Saturation:
    """Returns how often the units of a gate are nearly closed or nearly open.

    The gradient through a gate that is almost always closed or open is close to zero.
    In a forget gate, open units are long memories [1].

    Args:
      values: The values of one gate, [..., H], from `gates`.
      low: Below this a gate counts as closed.
      high: Above this it counts as open.

    Returns:
      Fractions of all steps, and the mean, of each unit.

    Example:
      >>> import jax.numpy as jnp
      >>> found = gate_saturation(jnp.array([[0.95], [0.99], [0.5], [0.01]]))
      >>> float(found.open[0]), float(found.closed[0])
      (0.5, 0.25)

    References:
      [1] Karpathy et al., 2015, https://arxiv.org/abs/1506.02078
    """
    values = jnp.asarray(values).reshape(-1, jnp.shape(values)[-1])
    return Saturation(
        closed=jnp.mean(values < low, axis=0),
        open=jnp.mean(values > high, axis=0),
        mean=jnp.mean(values, axis=0),
    )


def half_life(forget: Array) -> Array:
    """Returns the number of steps in which a forget gate halves the memory of a unit.

        log(1/2) / mean(log f)

    Args:
      forget: Values of a forget gate, [..., H]; of a GRU, its update gate z.

    Returns:
      Numbers of steps, [H]; infinite where the gate never closes.

    Example:
      >>> import jax.numpy as jnp
      >>> half_life(jnp.array([[0.5, 1.0], [0.5, 1.0]])).tolist()
      [1.0, inf]
    """
    forget = jnp.asarray(forget).reshape(-1, jnp.shape(forget)[-1])
    rate = -jnp.mean(jnp.log(forget), axis=0)
    return jnp.where(rate > 0, jnp.log(2.0) / jnp.where(rate > 0, rate, 1), jnp.inf)
