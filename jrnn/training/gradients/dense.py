"""Real-time recurrent learning for any layer, at its full cost.

S' = (ds'/ds) S + ds'/dparams        S: [state, parameters] for each example
"""

import math
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp

from jrnn.types import Array, Layer, Params, PRNGKey, Shape, State
from jrnn.values import value


class SensitiveState(NamedTuple):
    """A state, and its derivative with respect to the parameters."""

    state: State
    sensitivity: Array  # [*batch, size of the state, number of parameters]


@value
class Sensitive:
    """A layer that carries the whole derivative of its state in the parameters.

    Attributes:
      layer: Any causal layer.
      limit: How many elements the derivative may have for one example.
    """

    layer: Layer
    limit: int

    @property
    def output_size(self) -> int | None:
        return self.layer.output_size

    @property
    def over_time(self) -> str:
        return self.layer.over_time

    def init(self, key: PRNGKey, input_size: int, dtype: Any = float) -> Params:
        """Draws the parameters of the layer."""
        return self.layer.init(key, input_size, dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> SensitiveState:
        """Returns the initial state and its derivative in the parameters."""
        state = self.layer.initial_state(params, batch_shape)
        rows = self._checked(params)
        first = jax.jacrev(lambda p: _flat(self.layer.initial_state(p)))(params)
        first = _matrix(first, rows)
        spread = jnp.broadcast_to(first, (*batch_shape, *first.shape))
        return jax.lax.stop_gradient(SensitiveState(state, spread))

    def apply(
        self,
        params: Params,
        state: SensitiveState,
        xs: Any,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[SensitiveState, Any]:
        """Runs the layer one step at a time; gradients come from the sensitivity."""
        del lengths, key  # a mask here; refused at the border
        axis = state.sensitivity.ndim - 2
        slices = jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), (xs, mask, reset))

        def body(state: SensitiveState, slices: Any) -> tuple[SensitiveState, Any]:
            one = self._step
            for _ in range(axis):
                one = jax.vmap(one, in_axes=(None, 0, 0))
            return one(params, state, slices)

        state, ys = jax.lax.scan(body, state, slices)
        return state, jax.tree.map(lambda a: jnp.moveaxis(a, 0, axis), ys)

    def _step(
        self, params: Params, before: SensitiveState, slices: Any
    ) -> tuple[SensitiveState, Any]:
        """Takes one step of one example."""
        old, build = jax.flatten_util.ravel_pytree(jax.lax.stop_gradient(before.state))
        sensitivity = jax.lax.stop_gradient(before.sensitivity)
        fixed = jax.lax.stop_gradient(params)
        x, keep, restart = jax.tree.map(lambda a: a[None], slices)

        def run(p: Params) -> tuple[State, Any]:
            change = jax.tree.map(jnp.subtract, p, fixed)  # zero, with a gradient
            start = build(old + sensitivity @ _flat(change))
            return self.layer.apply(p, start, x, mask=keep, reset=restart)

        rows = jax.jacrev(lambda p: _flat(run(p)[0]))(fixed)
        state, y = run(params)
        new = SensitiveState(state, _matrix(rows, old.size))
        return jax.lax.stop_gradient(new), jax.tree.map(lambda a: a[0], y)

    def _checked(self, params: Params) -> int:
        """Returns the size of the state of one example, or raises."""
        shapes = jax.eval_shape(self.layer.initial_state, params)
        size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
        weights = sum(leaf.size for leaf in jax.tree.leaves(params))
        if size * weights > self.limit:
            raise ValueError(
                f"RTRL of this layer carries a state of {size} elements times "
                f"{weights} parameters for each example, more than the limit of "
                f"{self.limit}. One trace per parameter is exact for one recurrent "
                "layer of a cell whose `structure` is not dense, with no parameters "
                "before it. Otherwise use `SnAp1()` or `TBPTT(k)`, or raise "
                "`RTRL(limit=...)`."
            )
        return size


def _flat(tree: Any) -> Array:
    return jax.flatten_util.ravel_pytree(tree)[0]


def _matrix(rows: Any, number: int) -> Array:
    """Lays out the Jacobian of a vector in a tree as [number, parameters]."""
    leaves = [leaf.reshape(number, -1) for leaf in jax.tree.leaves(rows)]
    return jnp.concatenate(leaves, axis=1)
