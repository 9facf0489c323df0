"""An encoder and a decoder: from one sequence to another."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, numerics, options
from jrnn.cells.attention import AttentionParams, attend_to
from jrnn.layers.beam import Beams, beam_search
from jrnn.layers.bridge import Bridge, copy_state
from jrnn.layers.feed_back import feed_back
from jrnn.layers.generation import generate
from jrnn.layers.keys import optional_keys
from jrnn.layers.over_time import require_causal, returns_pair
from jrnn.meshes import place_rows
from jrnn.types import Array, DType, Layer, Params, PRNGKey, State
from jrnn.values import exportable, value


@exportable
class EncoderDecoderParams(NamedTuple):
    """Parameters of both sides, and of the bridge between their states."""

    encoder: Params
    decoder: Params
    bridge: Params  # () unless bridge="dense"


@value
class EncoderDecoder:
    """A model from a source sequence to a target sequence of any other length.

        memory, final    = encoder(source)
        state            = bridge(final)
        p(target_t | target_<t, source) = softmax(decoder([start, target_<t]; memory))

    Without attention, the decoder only gets the final state of the encoder [1]. With a
    `jrnn.Attention` or a `jrnn.AttentionCell` in the decoder, every step reads all
    outputs of the encoder [2].

    Attributes:
      encoder: A layer from the source to [*batch, positions, features]; or to [*batch,
        features], if the decoder has no attention.
      decoder: A causal layer from target ids to logits; it usually begins with a
        `jrnn.Embed`.
      start: The target id that precedes the first one.
      bridge: The initial state of the decoder. "copy": the leaves of the final state of
        the encoder, in order. "dense": tanh of a linear map of them. None: the
        decoder's own initial state.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> model = jrnn.EncoderDecoder(
      ...     encoder=jrnn.Sequential(
      ...         jrnn.Embed(9, 4), jrnn.Bidirectional(jrnn.GRU(5))
      ...     ),
      ...     decoder=jrnn.Sequential(
      ...         jrnn.Embed(7, 4),
      ...         jrnn.Recurrent(jrnn.GRU(6)),
      ...         jrnn.Attention(8, memory_size=10),
      ...         jrnn.Dense(7),
      ...     ),
      ...     bridge="dense",
      ... )
      >>> params = model.init(jax.random.key(0))
      >>> source, target = jnp.ones((2, 5), int), jnp.ones((2, 3), int)
      >>> model.apply(params, source, target).shape
      (2, 3, 7)
      >>> model.generate(params, source, 4, end=1).shape
      (2, 4)

    References:
      [1] Sutskever et al., 2014, https://arxiv.org/abs/1409.3215
      [2] Bahdanau et al., 2015, https://arxiv.org/abs/1409.0473
    """

    encoder: Layer
    decoder: Layer
    start: int = 0
    bridge: str | None = "copy"

    def __post_init__(self) -> None:
        checks.one_of("bridge", self.bridge, ["copy", "dense", None])
        checks.integer("start", self.start, 0)
        options.is_layer("encoder", self.encoder)
        options.is_layer("decoder", self.decoder)
        require_causal(
            self.decoder,
            "The decoder feeds back one token at a time",
            "Use layers that run from the first step to the last; only the encoder may "
            "read the whole sequence.",
        )

    def init(
        self,
        key: PRNGKey,
        input_size: int = 0,
        target_size: int = 0,
        dtype: DType = float,
    ) -> EncoderDecoderParams:
        """Draws all parameters. Layers that begin with `jrnn.Embed` need no sizes."""
        keys = checks.split_key(key, 3)
        encoder = self.encoder.init(keys[0], input_size, dtype)
        decoder = self.decoder.init(keys[1], target_size, dtype)
        if self.bridge != "dense":
            return EncoderDecoderParams(encoder, decoder, ())
        like = jax.eval_shape(self.encoder.initial_state, encoder)
        size = sum(leaf.size for leaf in jax.tree.leaves(like))
        if not size:
            raise ValueError(
                "bridge='dense' needs an encoder with a state, but this encoder has "
                "none. Use bridge=None."
            )
        bridge = Bridge(self.decoder).init(keys[2], size, decoder, dtype)
        return EncoderDecoderParams(encoder, decoder, bridge)

    def encode(
        self,
        params: EncoderDecoderParams,
        source: Any,
        *,
        lengths: Any = None,
        mask: Any = None,
        key: PRNGKey | None = None,
    ) -> tuple[Params, State]:
        """Encodes a source.

        Args:
          params: Parameters of the model.
          source: [*batch, positions] ids, or [*batch, positions, features].
          lengths: Integers [*batch], the number of valid positions.
          mask: Booleans [*batch, positions], which positions are valid.
          key: Source of randomness; None for evaluation.

        Returns:
          Parameters for the decoder, with the memory in its attentions, and its state
          before the first step: all that `jrnn.generate` and `jrnn.beam_search` need.
        """
        return self._encode(params, source, lengths, mask, key)[:2]

    def _encode(
        self,
        params: EncoderDecoderParams,
        source: Any,
        lengths: Any,
        mask: Any,
        key: PRNGKey | None,
    ) -> tuple[Params, State, Array]:
        """Returns what `encode` does, and the start of every row, [*batch, 1]."""
        options.own_params(self, params, EncoderDecoderParams)
        flags: Any = {"lengths": lengths, "mask": mask, "key": key}
        final, memory = self.encoder.apply(params.encoder, None, source, **flags)
        decoder, reduced = params.decoder, self.encoder.over_time == "reduce"
        batch = jax.tree.leaves(memory)[0].shape[: -1 if reduced else -2]
        start = jnp.full((*batch, 1), self.start, jnp.int32)
        start = place_rows(start, memory, len(batch))
        if _attentions(decoder):
            if reduced or returns_pair(self.encoder):
                raise ValueError(
                    "a decoder with attention needs an encoder that returns one array "
                    f"of outputs for all positions, got {self.encoder!r}. Use "
                    "return_sequence=True, and a merge other than None."
                )
            decoder = attend_to(decoder, memory, lengths=lengths, mask=mask)
        if self.bridge == "copy":
            return decoder, copy_state(final, self.decoder, decoder), start
        if self.bridge is None:
            state = self.decoder.initial_state(decoder, batch)
            return decoder, place_rows(state, memory, len(batch)), start
        flat = [jax.lax.collapse(a, len(batch)) for a in jax.tree.leaves(final)]
        vector = jnp.concatenate(flat, axis=-1)
        state = Bridge(self.decoder).apply(params.bridge, decoder, vector)
        return decoder, state, start

    def apply(
        self,
        params: EncoderDecoderParams,
        source: Any,
        target: Array,
        *,
        lengths: Any = None,
        mask: Any = None,
        target_lengths: Any = None,
        teacher_forcing: Any = 1.0,
        key: PRNGKey | None = None,
    ) -> Array:
        """Returns the logits of a target.

        Args:
          params: Parameters of the model.
          source: [*batch, positions] ids, or [*batch, positions, features].
          target: Ids [*batch, time].
          lengths: Integers [*batch], the number of valid positions of the source.
          mask: Booleans [*batch, positions], which positions of the source are valid.
          target_lengths: Integers [*batch], the number of valid steps of the target.
          teacher_forcing: The probability that the decoder reads the target of the
            previous step; otherwise it reads its own token, which is sampled, or the
            most likely one without a key. 1.0, as a Python number, decodes all steps at
            once. Decreasing it from 1 in training is scheduled sampling [1]; 0 is free
            running. Without a key, the target is read if the number is above 1/2. Below
            1.0, dropout masks are drawn at each step, also locked ones.
          key: Source of randomness; None for evaluation.

        Returns:
          Logits [*batch, time, tokens]; those at t are the model's guess of target[t].

        References:
          [1] Bengio et al., 2015, https://arxiv.org/abs/1506.03099
        """
        keys = optional_keys(key)
        decoder, state, _ = self._encode(params, source, lengths, mask, keys[0])
        target = checks.integers("target", target, " A target holds integer ids.")
        first = jnp.full(target.shape[:-1], self.start, target.dtype)
        state, first = place_rows((state, first), target, target.ndim - 1)
        known = isinstance(teacher_forcing, int | float)
        if known and not 0 <= teacher_forcing <= 1:
            raise ValueError(
                f"teacher_forcing must be in [0, 1], got {teacher_forcing}."
            )
        if known and teacher_forcing == 1:
            steps = jnp.moveaxis(target, -1, 0)
            given = jnp.moveaxis(numerics.shift(first, steps), 0, -1)
            _, logits = self.decoder.apply(
                decoder, state, given, lengths=target_lengths, key=keys[1]
            )
            return logits
        pieces = (state, first), (target, target_lengths)
        return feed_back(self.decoder, decoder, *pieces, teacher_forcing, keys[1])

    def generate(
        self,
        params: EncoderDecoderParams,
        source: Any,
        steps: int,
        *,
        lengths: Any = None,
        mask: Any = None,
        **options: Any,
    ) -> Array:
        """Returns target ids [*batch, steps], greedy or sampled.

        Options are those of `jrnn.generate`: key, temperature, top_k, top_p, end.
        """
        decoder, state, prime = self._encode(params, source, lengths, mask, None)
        return generate(self.decoder, decoder, state, prime, steps, **options)[1]

    def beam_search(
        self,
        params: EncoderDecoderParams,
        source: Any,
        steps: int,
        *,
        lengths: Any = None,
        mask: Any = None,
        **options: Any,
    ) -> Beams:
        """Returns the most likely targets that `jrnn.beam_search` finds.

        Options are those of `jrnn.beam_search`: beams, end, length_penalty.
        """
        decoder, state, prime = self._encode(params, source, lengths, mask, None)
        return beam_search(self.decoder, decoder, state, prime, steps, **options)


def _attentions(params: Params) -> bool:
    """Whether a tree of parameters holds an attention."""
    nodes = jax.tree.leaves(params, is_leaf=lambda n: isinstance(n, AttentionParams))
    return any(isinstance(node, AttentionParams) for node in nodes)
