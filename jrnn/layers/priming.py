"""The start of every decoding: a prime is checked and read."""

from typing import Any

import jax.numpy as jnp

from jrnn import checks, masks
from jrnn.layers.over_time import require_causal
from jrnn.types import Array, Layer, Params, State


def check_prime(model: Layer, prime: Any, lengths: Any) -> tuple[Array, Array | None]:
    """Returns a prime and its lengths as arrays.

    Raises:
      ValueError: if outputs of the model depend on later steps, if the prime is empty,
        or if a length is out of range.
      TypeError: if the ids are not integers.
    """
    require_causal(
        model,
        "Decoding feeds back one token at a time",
        "Use a model that runs from the first step to the last, such as "
        "`jrnn.Recurrent(cell)`.",
    )
    prime = checks.integers("prime", prime, " A prime holds integer ids.")
    if prime.ndim == 0 or prime.shape[-1] == 0:
        raise ValueError(
            f"prime must have at least one id per row, [*batch, time], got shape "
            f"{list(prime.shape)}. Start for example with a space or a newline."
        )
    lengths = masks.as_lengths(lengths)
    checks.lengths(lengths, prime.shape[:-1], prime.shape[-1], least=1)
    return prime, lengths


def check_end(model: Layer, end: int | None) -> None:
    """Raises unless `end` is None or a token of the vocabulary.

    Raises:
      ValueError: if it is not.
      TypeError: if it is no integer.
    """
    if end is None:
        return
    end = checks.integer("end", end, 0)
    if model.output_size is not None and end >= model.output_size:
        raise ValueError(
            f"end is {end}, but the model has {model.output_size} tokens, from 0 to "
            f"{model.output_size - 1}, so no sequence would ever end."
        )


def read_prime(
    model: Layer,
    params: Params,
    state: State | None,
    prime: Array,
    lengths: Array | None,
) -> tuple[State, Array]:
    """Returns the state after a prime, and its last logits [*batch, vocabulary]."""
    state, logits = model.apply(params, state, prime, lengths=lengths)
    last: Any = prime.shape[-1] - 1
    if lengths is not None:
        last = jnp.clip(lengths - 1, 0, last)
    where = jnp.broadcast_to(jnp.asarray(last), prime.shape[:-1])[..., None, None]
    return state, jnp.take_along_axis(logits, where, axis=-2)[..., 0, :]


def check_finite(found: Any) -> None:
    """Raises if a decoding met logits that are NaN; `found` says where."""
    if checks.concrete(found) and found.any():
        raise ValueError(
            "The logits of the model are NaN: its parameters are not finite, or the "
            "prime contains an id that is out of range."
        )
