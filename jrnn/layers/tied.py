"""A language model whose input and output share one table of vectors."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jrnn import checks, options
from jrnn.layers.over_time import refuse_pair
from jrnn.layers.pointwise import Embed, EmbedParams
from jrnn.numerics import along
from jrnn.types import Array, DType, Layer, Params, PRNGKey, Shape, State
from jrnn.values import exportable, value


@exportable
class TiedParams(NamedTuple):
    """Parameters of a model with tied weights."""

    embed: EmbedParams  # the table, for input and output
    body: Params
    b: Array | None  # [vocabulary]


@value
class Tied:
    """An embedding, a body, and logits computed with the embedding table [1, 2].

        logits = body(table[ids]) @ table.T + b

    Attributes:
      embed: The embedding.
      body: A layer that returns as many features as the embedding has.
      bias: Whether each token has a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> model = jrnn.Tied(jrnn.Embed(7, 4), jrnn.Recurrent(jrnn.LSTM(4)))
      >>> params = model.init(jax.random.key(0))
      >>> model.apply(params, None, jnp.zeros((2, 5), int))[1].shape
      (2, 5, 7)

    References:
      [1] Press and Wolf, 2017, https://arxiv.org/abs/1608.05859
      [2] Inan et al., 2017, https://arxiv.org/abs/1611.01462
    """

    embed: Embed
    body: Layer
    bias: bool = True

    def __post_init__(self) -> None:
        options.check(self)
        if not isinstance(self.embed, Embed):
            raise TypeError(f"Tied.embed must be a jrnn.Embed, got {self.embed!r}.")
        refuse_pair("Tied", self.body)

    @property
    def output_size(self) -> int:
        return self.embed.vocabulary

    @property
    def over_time(self) -> str:
        return self.body.over_time

    def init(
        self, key: PRNGKey, input_size: int = 0, dtype: DType = float
    ) -> TiedParams:
        """Draws the parameters; ignores `input_size`.

        Raises:
          ValueError: if the body returns another number of features than the table.
        """
        del input_size
        size = self.embed.features
        checks.equal_sizes("the body of Tied", self.body.output_size or size, size)
        keys = checks.split_key(key)
        b = jnp.zeros(self.embed.vocabulary, dtype) if self.bias else None
        embed = self.embed.init(keys[0], dtype=dtype)
        return TiedParams(embed, self.body.init(keys[1], size, dtype), b)

    def initial_state(self, params: TiedParams, batch_shape: Shape = ()) -> State:
        """Returns the initial state of the body."""
        return self.body.initial_state(params.body, batch_shape)

    def apply(
        self,
        params: TiedParams,
        state: State,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[State, Array]:
        """Maps ids [*batch, time] to logits [*batch, time, vocabulary]."""
        options.own_params(self, params, TiedParams)
        flags: Any = {"lengths": lengths, "mask": mask}
        _, ys = self.embed.apply(params.embed, (), xs, **flags)
        state, ys = self.body.apply(
            params.body, state, ys, reset=reset, key=key, **flags
        )
        logits = ys @ params.embed.table.T
        return state, logits if params.b is None else logits + along(params.b, logits)
