"""Dropout of features between layers."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks, meshes, options
from jrnn.types import Array, DType, Params, PRNGKey, Shape
from jrnn.values import value


@value
class Dropout:
    """Sets random features to zero and scales up the others.

        y = x * mask / (1 - rate)        each mask entry is 0 with probability `rate`

    Without a key, as in evaluation, the input is returned unchanged.

    Attributes:
      rate: The probability of dropping a feature, in [0, 1).
      locked: Whether all time steps of a sequence use the same mask [1]. By default,
        each step has its own mask. Time is the axis before the features.
      feature_axes: The number of axes of one step, 3 for images.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.Dropout(0.5)
      >>> _, ys = layer.apply((), (), jnp.ones((2, 5, 3)), key=jax.random.key(0))
      >>> sorted(set(ys.ravel().tolist()))
      [0.0, 2.0]

    References:
      [1] Gal and Ghahramani, 2016, https://arxiv.org/abs/1512.05287
    """

    rate: float
    locked: bool = False
    feature_axes: int = 1

    output_size = None
    over_time = "pointwise"

    def __post_init__(self) -> None:
        options.check(self)
        checks.probability("rate", self.rate)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> tuple[()]:
        """Returns no parameters."""
        del key, input_size, dtype
        return ()

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> tuple[()]:
        """Returns an empty state."""
        del params, batch_shape
        return ()

    def apply(
        self,
        params: Params,
        state: Any,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[()], Array]:
        """Drops features of [*batch, time, features]."""
        del params, state, lengths, mask, reset
        checks.array("xs", xs)
        checks.key("key", key)
        xs = jnp.asarray(xs)
        if key is None or self.rate == 0:
            return (), xs
        shape, time = list(xs.shape), xs.ndim - self.feature_axes - 1
        if self.locked and time >= 0:
            shape[time] = 1
        kept = jax.random.bernoulli(key, 1 - self.rate, shape)
        kept = meshes.split_like(kept, xs)
        return (), jnp.where(kept, xs / (1 - self.rate), jnp.zeros_like(xs))
