"""A cell whose gradient is cut at random on its way back through time."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells.forwarding import Forwarding
from jrnn.types import Array, Cell, DType, Params, PRNGKey, State, value


@value
class RandomCut(Forwarding):
    """A cell that scales the gradient of the state before a step by 0 or 1 / (1 - p).

    Attributes:
      cell: What to compute in each step; values are unchanged.
      probability: p, the probability of 0.
    """

    cell: Cell
    probability: float

    def init(self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32) -> Params:
        """Draws the parameters of the cell."""
        return self.cell.init(key, input_size, dtype)

    def project(self, params: Params, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Projects the input, and draws the factor of each example [...]."""
        if key is None:
            return self.cell.project(params, x), None
        key_cut, key = jax.random.split(key)
        leaf = jax.tree.leaves(x)[0]
        batch = leaf.shape[: leaf.ndim - self.feature_axes]
        kept = jax.random.bernoulli(key_cut, 1 - self.probability, batch)
        factor = jnp.where(kept, 1 / (1 - self.probability), 0.0)
        return self.cell.project(params, x, key=key), factor

    def step(self, params: Params, state: State, u: Any) -> State:
        """Steps from the same state, with a scaled gradient."""
        u, factor = u
        if factor is not None:
            state = jax.tree.map(lambda leaf: _scale_gradient(leaf, factor), state)
        return self.cell.step(params, state, u)

    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(params, state, u[0])


def _scale_gradient(leaf: Array, factor: Array) -> Array:
    fixed = jax.lax.stop_gradient(leaf)
    axes = factor.shape + (1,) * (leaf.ndim - factor.ndim)
    return fixed + factor.reshape(axes).astype(leaf.dtype) * (leaf - fixed)
