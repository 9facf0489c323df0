"""Weight drop: dropout of recurrent weights for a whole sequence."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.cells.wrapper_base import Wrapper
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape
from jrnn.values import value


@value
class WeightDrop(Wrapper):
    """Sets random recurrent weights to zero for a whole sequence [1].

        W = w_h * m / (1 - rate),    each entry of m is 0 with probability `rate`

    All steps and all examples share one mask, which is drawn once, outside the loop.
    Without a key, in evaluation, weights are unchanged.

    Attributes:
      cell: The cell to wrap.
      rate: Probability of dropping a weight, in [0, 1).
      leaves: Names of the parameters to drop from, also in cells that are wrapped
        inside.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.WeightDrop(jrnn.LSTM(hidden_size=4), rate=0.5)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> dropped = cell.prepare(params, key=jax.random.key(1))
      >>> bool(jnp.all((dropped.w_h == 0) | (dropped.w_h == 2 * params.w_h)))
      True

    References:
      [1] Merity et al., 2017, https://arxiv.org/abs/1708.02182
    """

    cell: Cell
    rate: float
    leaves: tuple[str, ...] = ("w_h",)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.probability("rate", self.rate)

    def init(self, key: PRNGKey, input_size: Any, dtype: DType = float) -> Params:
        """Draws the parameters of the cell.

        Raises:
          ValueError: if the cell has no parameter of such a name.
        """
        params = self.cell.init(key, input_size, dtype)
        paths = jax.tree_util.tree_leaves_with_path(params)
        for name in self.leaves:
            checks.one_of("leaves", name, sorted({_name(path) for path, _ in paths}))
        return params

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Drops some parameters of the cell, and prepares them."""
        if key is not None:
            key, key_masks = jax.random.split(key)
            leaves, structure = jax.tree_util.tree_flatten_with_path(params)
            keys = jax.random.split(key_masks, len(leaves))
            dropped = [
                self._drop(leaf, key_mask) if _name(path) in self.leaves else leaf
                for (path, leaf), key_mask in zip(leaves, keys, strict=True)
            ]
            params = jax.tree.unflatten(structure, dropped)
        return self.cell.prepare(params, key=key, batch_shape=batch_shape)

    def _drop(self, weights: Array, key: PRNGKey) -> Array:
        kept = jax.random.bernoulli(key, 1 - self.rate, weights.shape)
        return jnp.where(kept, weights / (1 - self.rate), jnp.zeros_like(weights))


def _name(path: Any) -> str:
    """Returns the name of a leaf: the last entry of its path in a tree."""
    return jax.tree_util.keystr(path[-1:], simple=True)
