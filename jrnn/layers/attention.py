"""Attention of every step of a sequence to a memory, as a layer."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jrnn import checks, initializers, masks, options
from jrnn.cells.affine import affine
from jrnn.cells.attention import SCORES, AttentionParams, attend, init_attention
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class AttentionLayerParams(NamedTuple):
    """Parameters of an attention, and of the output."""

    attention: AttentionParams
    w: Array  # [F + M, H]
    b: Array  # [H]


@value
class Attention:
    """Attention above a recurrence: each step reads a memory [1].

        c_t, weights_t = attend(memory, x_t)
        y_t            = tanh([x_t, c_t] w + b)

    All steps attend at once, so the recurrent layer below still uses its fast kernel.
    Set the memory with `jrnn.layers.attend_to`; `jrnn.EncoderDecoder` does it.

    Attributes:
      features: The number of output features.
      memory_size: The number of features of the memory.
      hidden_size: The number of features in which queries and keys are compared; None
        for `features`.
      score: "additive": v . tanh(W q + U k) [2]; or "dot": W q . U k / sqrt(A) [3].

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> decoder = jrnn.Sequential(
      ...     jrnn.Embed(9, 3), jrnn.Recurrent(jrnn.GRU(4)), jrnn.Attention(6, 5)
      ... )
      >>> params = decoder.init(jax.random.key(0))
      >>> params = jrnn.layers.attend_to(params, jnp.ones((2, 7, 5)))
      >>> decoder.apply(params, None, jnp.zeros((2, 8), int))[1].shape
      (2, 8, 6)

    References:
      [1] Luong et al., 2015, https://arxiv.org/abs/1508.04025
      [2] Bahdanau et al., 2015, https://arxiv.org/abs/1409.0473
      [3] Vaswani et al., 2017, https://arxiv.org/abs/1706.03762
    """

    features: int
    memory_size: int
    hidden_size: int | None = None
    score: str = "additive"

    def __post_init__(self) -> None:
        options.check(self)
        checks.one_of("score", self.score, SCORES)

    over_time = "pointwise"

    @property
    def output_size(self) -> int:
        return self.features

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> AttentionLayerParams:
        """Draws LeCun normal weights and a zero bias."""
        input_size = checks.integer("input_size", input_size, 1)
        keys = checks.split_key(key)
        size = self.hidden_size or self.features
        memory = self.memory_size
        joined = input_size + memory
        return AttentionLayerParams(
            init_attention(keys[0], input_size, memory, size, self.score, dtype),
            initializers.lecun_normal(keys[1], joined, self.features, 1, dtype),
            jnp.zeros(self.features, dtype),
        )

    def initial_state(
        self, params: AttentionLayerParams, batch_shape: Shape = ()
    ) -> tuple[()]:
        """Returns an empty state."""
        del params, batch_shape
        return ()

    def apply(
        self,
        params: AttentionLayerParams,
        state: Any,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[()], Array]:
        """Attends from [*batch, time, features]; padded inputs are replaced by zeros.

        Raises:
          ValueError: if no memory is set.
        """
        del state, reset, key
        options.own_params(self, params, AttentionLayerParams)
        xs = masks.without_padding(xs, lengths, mask)
        contexts, _ = attend(params.attention, xs)
        joined = jnp.concatenate([xs, contexts], axis=-1)
        return (), jnp.tanh(affine(joined, params.w, params.b))

    def weights(self, params: AttentionLayerParams, xs: Array) -> Array:
        """Returns the attention weights of each step, [*batch, time, S]."""
        return attend(params.attention, jnp.asarray(xs))[1]
