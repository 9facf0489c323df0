"""Cells and layers of jrnn as Equinox modules."""

from typing import Any

import equinox as eqx

from jrnn import scanning
from jrnn.types import Array, Cell, DType, Layer, Params, PRNGKey, Shape, State


class EquinoxCell(eqx.Module):
    """A jrnn cell with its parameters, as an Equinox module.

    Modules of Equinox take one example, and `jax.vmap` adds a batch axis. This module
    takes one example or a batch.

    Attributes:
      params: The parameters, in the cell's tree.
      cell: The jrnn cell.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.equinox import EquinoxCell
      >>> cell = EquinoxCell(jrnn.LSTM(4), input_size=3, key=jax.random.key(0))
      >>> xs = jnp.ones((5, 3))  # [time, features]
      >>> run = lambda state, x: cell(x, state)
      >>> state, ys = jax.lax.scan(run, cell.initial_state(), xs)
      >>> ys.shape
      (5, 4)
    """

    params: Params
    cell: Cell = eqx.field(static=True)

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        *,
        key: PRNGKey,
        dtype: DType = float,
    ):
        self.cell = cell
        self.params = cell.init(key, input_size, dtype)

    def __call__(
        self, x: Any, state: State | None = None, *, key: PRNGKey | None = None
    ) -> tuple[State, Array]:
        """Returns the state after one step, and the output. No key means evaluation."""
        return scanning.step(self.cell, self.params, state, x, key=key)

    def initial_state(self, batch_shape: Shape = ()) -> State:
        """Returns the state before the first step."""
        return self.cell.initial_state(self.params, batch_shape)


class EquinoxLayer(eqx.Module):
    """A jrnn layer or model with its parameters, as an Equinox module.

    Attributes:
      params: The parameters, in the layer's tree.
      layer: The jrnn layer.

    Example:
      >>> import equinox as eqx, jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.equinox import EquinoxLayer
      >>> keys = jax.random.split(jax.random.key(0))
      >>> model = eqx.nn.Sequential(
      ...     [
      ...         EquinoxLayer(jrnn.Recurrent(jrnn.GRU(4)), input_size=3, key=keys[0]),
      ...         eqx.nn.Lambda(eqx.filter_vmap(eqx.nn.Linear(4, 2, key=keys[1]))),
      ...     ]
      ... )
      >>> model(jnp.ones((5, 3))).shape  # [time, features]
      (5, 2)
    """

    params: Params
    layer: Layer = eqx.field(static=True)

    def __init__(
        self,
        layer: Layer,
        input_size: int,
        *,
        key: PRNGKey,
        dtype: DType = float,
    ):
        self.layer = layer
        self.params = layer.init(key, input_size, dtype)

    def __call__(
        self,
        xs: Any,
        *,
        state: State | None = None,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
        return_state: bool = False,
    ) -> Any:
        """Applies the layer. The arguments are the same as for `jrnn.scan`.

        Returns:
          The outputs. With `return_state`, the state after the last step, and the
          outputs.
        """
        state, ys = self.layer.apply(
            self.params, state, xs, lengths=lengths, mask=mask, reset=reset, key=key
        )
        return (state, ys) if return_state else ys

    def initial_state(self, batch_shape: Shape = ()) -> State:
        """Returns the state before the first step."""
        return self.layer.initial_state(self.params, batch_shape)
