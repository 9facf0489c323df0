"""Layers without state: they compute each time step on its own."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jrnn import checks, initializers, masks, meshes, numerics, options
from jrnn.cells.affine import affine
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class DenseParams(NamedTuple):
    """Parameters of a dense layer from F to H features."""

    w: Array  # [F, H]
    b: Array | None  # [H]


@value
class Dense:
    """A dense layer: `y = x w + b`.

    Attributes:
      features: The number of output features.
      bias: Whether to add a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.Dense(4)
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> layer.apply(params, (), jnp.ones((2, 5, 3)))[1].shape
      (2, 5, 4)
    """

    features: int
    bias: bool = True

    over_time = "pointwise"

    def __post_init__(self) -> None:
        options.check(self)

    @property
    def output_size(self) -> int:
        return self.features

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> DenseParams:
        """Draws LeCun normal weights and a zero bias."""
        input_size = checks.integer("input_size", input_size, 1)
        checks.init_key(key)
        w = initializers.lecun_normal(key, input_size, self.features, 1, dtype)
        return DenseParams(w, jnp.zeros(self.features, dtype) if self.bias else None)

    def initial_state(self, params: DenseParams, batch_shape: Shape = ()) -> tuple[()]:
        """Returns an empty state."""
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
        """Maps [..., F] to [..., H]. Padded inputs are replaced by zeros."""
        del state, reset, key
        options.own_params(self, params, DenseParams)
        checks.last_axis("xs", xs, params.w.shape[0])
        xs = masks.without_padding(xs, lengths, mask)
        return (), affine(xs, params.w, params.b)


@exportable
class EmbedParams(NamedTuple):
    """Parameters of an embedding."""

    table: Array  # [vocabulary, H]


@value
class Embed:
    """An embedding: one vector per token, `y = table[id]`.

    JAX clamps an index that is out of range. This layer raises instead if the id is
    known, and returns NaN if it is traced.

    Attributes:
      vocabulary: The number of tokens. Ids are 0 to vocabulary - 1.
      features: The number of output features.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.Embed(7, 4)
      >>> params = layer.init(jax.random.key(0))
      >>> layer.apply(params, (), jnp.array([[0, 6]]))[1].shape
      (1, 2, 4)
    """

    vocabulary: int
    features: int

    over_time = "pointwise"

    def __post_init__(self) -> None:
        options.check(self)

    @property
    def output_size(self) -> int:
        return self.features

    def init(
        self, key: PRNGKey, input_size: int = 0, dtype: DType = float
    ) -> EmbedParams:
        """Draws normal entries of variance 1/features; ignores `input_size`."""
        del input_size
        key = checks.init_key(key)
        rows = initializers.lecun_normal(key, self.features, self.vocabulary, 1, dtype)
        return EmbedParams(table=rows.T)

    def initial_state(self, params: EmbedParams, batch_shape: Shape = ()) -> tuple[()]:
        """Returns an empty state."""
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
        """Maps ids [...] to vectors [..., features]. Padded ids are replaced by 0.

        Raises:
          TypeError: If the ids are not integers.
          ValueError: If an id is out of range and its value is known.
        """
        del state, reset, key
        options.own_params(self, params, EmbedParams)
        ids = checks.integers("xs", xs, " `jrnn.Embed` takes integer ids.")
        ids = masks.without_padding(ids, lengths, mask, feature_axes=0)
        ids = checks.ids("xs", ids, self.vocabulary)
        rows = meshes.take_rows(params.table, ids)
        if checks.concrete(ids):
            return (), rows
        known = (ids >= 0) & (ids < self.vocabulary)
        return (), jnp.where(known[..., None], rows, jnp.nan)


@exportable
class LayerNormParams(NamedTuple):
    """Parameters of a layer normalization over H features."""

    scale: Array  # [H]
    shift: Array  # [H]


@value
class LayerNorm:
    """Layer normalization over the features of each time step [1].

        y = scale * (x - mean(x)) / sqrt(var(x) + epsilon) + shift

    Attributes:
      epsilon: Added to the variance. It must be positive, because padded steps are
        zeros, which have no variance.

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
    over_time = "pointwise"

    def __post_init__(self) -> None:
        options.check(self)
        checks.positive("epsilon", self.epsilon)

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> LayerNormParams:
        """Returns scales of one and shifts of zero."""
        del key
        checks.dtype("dtype", dtype)
        input_size = checks.integer("input_size", input_size, 1)
        return LayerNormParams(
            jnp.ones(input_size, dtype), jnp.zeros(input_size, dtype)
        )

    def initial_state(
        self, params: LayerNormParams, batch_shape: Shape = ()
    ) -> tuple[()]:
        """Returns an empty state."""
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
        """Normalizes the last axis. Padded inputs are replaced by zeros."""
        del state, reset, key
        options.own_params(self, params, LayerNormParams)
        checks.last_axis("xs", xs, params.scale.shape[0])
        xs = masks.without_padding(jnp.asarray(xs), lengths, mask)
        normal = numerics.normalize(xs, self.epsilon)
        scale, shift = (numerics.along(a, xs) for a in params)
        return (), scale * normal + shift
