"""Decoding step by step, each step reading the target or the model's own token."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn import masks
from jrnn.layers.generation import sample
from jrnn.meshes import place_rows
from jrnn.types import Array, Layer, Params, PRNGKey, State


def feed_back(
    decoder: Layer,
    params: Params,
    begin: tuple[State, Array],
    targets: tuple[Array, Any],
    teacher_forcing: Any,
    key: PRNGKey | None,
) -> Array:
    """Returns logits [*batch, time, tokens] of a decoder that may read its own tokens.

    Args:
      decoder: A layer from ids to logits.
      params: Its parameters.
      begin: Its state before the first step, and the id that it reads there, [*batch].
      targets: Ids [*batch, time], and how many of them are valid, or None.
      teacher_forcing: The probability that a step reads the target of the step before.
      key: Source of randomness; None reads the target where the probability is above
        1/2, and otherwise the most likely token.
    """
    target, lengths = targets
    valid = masks.valid_steps(lengths, None, target.shape[:-1], target.shape[-1])
    keep = None if valid is None else jnp.moveaxis(valid[..., None], -2, 0)
    steps = jnp.moveaxis(target, -1, 0)
    keys = None if key is None else jax.random.split(key, len(steps))

    def body(carry: tuple[State, Array], now: Any) -> tuple[Any, Array]:
        state, token = carry
        true, mask, key = now
        state, logits = decoder.apply(
            params, state, token[..., None], mask=mask, key=key
        )
        logits = logits[..., 0, :]
        if key is None:
            own = jnp.argmax(logits, axis=-1)
            forced = jnp.full(own.shape, teacher_forcing) > 0.5
        else:
            keys = jax.random.split(jax.random.fold_in(key, 1))
            own = sample(keys[0], jax.lax.stop_gradient(logits))
            forced = jax.random.bernoulli(keys[1], teacher_forcing, own.shape)
        forced = place_rows(forced, own, own.ndim)
        token = jnp.where(forced, true, own.astype(true.dtype))
        return (state, token), logits

    _, logits = jax.lax.scan(body, begin, (steps, keep, keys))
    return jnp.moveaxis(logits, 0, -2)
