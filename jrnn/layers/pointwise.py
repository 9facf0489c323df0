"""Layers that treat every time step alike and carry no state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers, masks
from jrnn.types import Array, DType, Params, PRNGKey, Shape, exportable, value


@exportable
class DenseParams(NamedTuple):
    """Arrays of a dense layer from F to H features."""

    w: Array  # [F, H]
    b: Array | None  # [H]


@value
class Dense:
    """Affine map of the features: `y = x w + b`.

    Attributes:
      size: The number of output features.
      bias: Whether there is one.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.Dense(4)
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> layer.apply(params, (), jnp.ones((2, 5, 3)))[1].shape
      (2, 5, 4)
    """

    size: int
    bias: bool = True

    @property
    def output_size(self) -> int:
        return self.size

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> DenseParams:
        """Draws LeCun-normal weights and a zero bias."""
        checks.at_least("input_size", input_size, 1)
        w = initializers.lecun_normal(key, input_size, self.size, 1, dtype)
        return DenseParams(w, jnp.zeros(self.size, dtype) if self.bias else None)

    def initial_state(self, params: DenseParams, batch_shape: Shape = ()) -> tuple[()]:
        """Returns nothing: there is no state."""
        del params, batch_shape
        return ()

    def apply(
        self,
        params: DenseParams,
        state: Any,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[()], Array]:
        """Maps [..., F] to [..., H]; what stands in padding counts as zero."""
        del state, reset, key
        checks.last_axis("xs", xs, params.w.shape[0])
        xs = masks.without_padding(xs, lengths, mask)
        ys = xs @ params.w
        return (), ys if params.b is None else ys + params.b


@exportable
class EmbedParams(NamedTuple):
    """Arrays of an embedding."""

    table: Array  # [vocabulary, H]


@value
class Embed:
    """A vector for each symbol: `y = table[id]`.

    Indexing in JAX takes the nearest row for an id out of range. Here such an id is an
    error where ids are known, and a row of NaN where they are traced: never another
    symbol.

    Attributes:
      vocabulary: The number of symbols; ids are 0 to vocabulary - 1.
      size: The number of features of a vector.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.Embed(7, 4)
      >>> params = layer.init(jax.random.key(0))
      >>> layer.apply(params, (), jnp.array([[0, 6]]))[1].shape
      (1, 2, 4)
    """

    vocabulary: int
    size: int

    @property
    def output_size(self) -> int:
        return self.size

    def init(
        self, key: PRNGKey, input_size: int = 0, dtype: DType = jnp.float32
    ) -> EmbedParams:
        """Draws normal entries of variance 1/size; `input_size` is not used."""
        del input_size
        checks.at_least("vocabulary", self.vocabulary, 1)
        rows = initializers.lecun_normal(key, self.size, self.vocabulary, 1, dtype)
        return EmbedParams(table=rows.T)

    def initial_state(self, params: EmbedParams, batch_shape: Shape = ()) -> tuple[()]:
        """Returns nothing: there is no state."""
        del params, batch_shape
        return ()

    def apply(
        self,
        params: EmbedParams,
        state: Any,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[()], Array]:
        """Maps ids [...] to vectors [..., size]; padding counts as the id 0.

        Raises:
          TypeError: if ids are not integers.
          ValueError: if a known id is out of range.
        """
        del state, reset, key
        ids = jnp.asarray(xs)
        ids = masks.without_padding(ids, lengths, mask, feature_axes=0)
        checks.ids("xs", ids, self.vocabulary)
        rows = params.table[ids]
        if checks.concrete(ids):
            return (), rows
        known = (ids >= 0) & (ids < self.vocabulary)
        return (), jnp.where(known[..., None], rows, jnp.nan)


@exportable
class LayerNormParams(NamedTuple):
    """Arrays of a layer normalisation over H features."""

    scale: Array  # [H]
    shift: Array  # [H]


@value
class LayerNorm:
    """Layer normalisation of the features of each time step [1].

        y = scale * (x - mean(x)) / sqrt(var(x) + epsilon) + shift

    Attributes:
      epsilon: Keeps the square root away from zero.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.LayerNorm()
      >>> model = jrnn.Sequential(jrnn.Dense(4), layer)
      >>> params = model.init(jax.random.key(0), input_size=3)
      >>> model.apply(params, None, jnp.ones((2, 5, 3)))[1].shape
      (2, 5, 4)

    References:
      [1] Ba et al., 2016, https://arxiv.org/abs/1607.06450
    """

    epsilon: float = 1e-6

    output_size = None

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> LayerNormParams:
        """Returns scales of one and shifts of zero."""
        del key  # nothing is drawn
        checks.at_least("input_size", input_size, 1)
        return LayerNormParams(
            jnp.ones(input_size, dtype), jnp.zeros(input_size, dtype)
        )

    def initial_state(
        self, params: LayerNormParams, batch_shape: Shape = ()
    ) -> tuple[()]:
        """Returns nothing: there is no state."""
        del params, batch_shape
        return ()

    def apply(
        self,
        params: LayerNormParams,
        state: Any,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[()], Array]:
        """Normalises the last axis, in float32 at least; padding counts as zero."""
        del state, reset, key
        checks.last_axis("xs", xs, params.scale.shape[0])
        xs = masks.without_padding(xs, lengths, mask)
        wide = xs.astype(jnp.promote_types(xs.dtype, jnp.float32))
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        normal = (centred * jax.lax.rsqrt(variance + self.epsilon)).astype(xs.dtype)
        return (), params.scale * normal + params.shift


@value
class Dropout:
    """Sets features to zero at random, and scales the others up to keep the mean.

        y = x * mask / (1 - rate)        each mask entry is 0 with probability `rate`

    Without a key, in evaluation, the input is returned as it is.

    Attributes:
      rate: Probability of dropping a feature, in [0, 1).
      locked: Whether one mask holds for all time steps of a sequence [1], drawn anew
        for each sequence; otherwise each step has its own.

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

    output_size = None

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> tuple[()]:
        """Returns nothing: there are no parameters."""
        del key, input_size, dtype
        checks.probability("rate", self.rate)
        return ()

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> tuple[()]:
        """Returns nothing: there is no state."""
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
        checks.probability("rate", self.rate)
        if key is None or self.rate == 0:
            return (), xs
        shape = xs.shape
        if self.locked:
            shape = (*shape[:-2], 1, shape[-1])
        kept = jax.random.bernoulli(key, 1 - self.rate, shape)
        return (), jnp.where(kept, xs / (1 - self.rate), jnp.zeros_like(xs))
