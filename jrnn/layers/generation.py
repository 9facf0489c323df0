"""Samples symbols from a model, one at a time, in one compiled loop."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.types import Array, Layer, Params, PRNGKey, State

NONE = -1  # stands for a symbol where the scores of a model are NaN


def generate(
    model: Layer,
    params: Params,
    state: State | None,
    prime: Array,
    steps: int,
    *,
    key: PRNGKey | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    end: int | None = None,
    lengths: Array | None = None,
) -> tuple[State, Array]:
    """Continues sequences of symbols with what a model expects next.

        p = softmax(logits / temperature), cut to top_k symbols, then to mass top_p
        symbol ~ p                                    greedy: argmax(logits)

    Args:
      model: A layer from ids [*batch, time] to logits [*batch, time, vocabulary].
      params: Its parameters.
      state: State before the prime; None for the initial state.
      prime: Ids [*batch, time] that are read first, at least one per row.
      steps: How many symbols to generate.
      key: Source of randomness; None is greedy.
      temperature: Above 1 evens the probabilities out, below 1 sharpens them; 0 is
        greedy. Not static: another value does not recompile, nor do those below.
      top_k: Sample from the k likeliest symbols alone; None for all.
      top_p: Sample from the likeliest symbols that together reach this probability
        alone [1]; None for all.
      end: Symbol that ends a sequence: all later symbols of that row are `end` too, and
        its state is held. None for no such symbol.
      lengths: Integers [*batch]: valid steps of each row of the prime, padded at its
        end; None for all.

    Returns:
      The state after all but the last of the generated symbols, and the symbols
      [*batch, steps]. To go on, prime with the last one.

    Raises:
      ValueError: if the prime is empty, a number is out of its range, or the scores are
        NaN, as after an id that the model does not know. Traced, such symbols are -1.
      TypeError: if the prime does not hold integers.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> model = jrnn.Sequential(
      ...     jrnn.Embed(7, 4), jrnn.Recurrent(jrnn.GRU(5)), jrnn.Dense(7)
      ... )
      >>> params = model.init(jax.random.key(0))
      >>> _, ids = jrnn.generate(
      ...     model, params, None, jnp.array([[1, 2]]), 6, key=jax.random.key(1)
      ... )
      >>> ids.shape
      (1, 6)

    References:
      [1] Holtzman et al., 2020, https://arxiv.org/abs/1904.09751
    """
    prime = jnp.asarray(prime)
    if prime.ndim == 0 or prime.shape[-1] == 0:
        raise ValueError(
            f"prime must hold at least one id per row, [*batch, time], got shape "
            f"{list(prime.shape)}. Begin with a symbol of your choice, such as a space."
        )
    if not jnp.issubdtype(prime.dtype, jnp.integer):
        raise TypeError(f"prime must be integer ids, got {prime.dtype}.")
    checks.at_least("steps", steps, 0)
    checks.at_least("temperature", temperature, 0)
    if top_k is not None:
        checks.at_least("top_k", top_k, 1)
    if top_p is not None:
        checks.positive("top_p", top_p)
    if lengths is not None:
        lengths = jnp.asarray(lengths)
        checks.lengths(lengths, prime.shape[:-1], prime.shape[-1], least=1)
    greedy = key is None or temperature == 0
    cuts = None if greedy else (temperature, top_k, top_p)
    state, ids = _generate(model, params, state, prime, steps, key, cuts, end, lengths)
    if checks.concrete(ids) and (ids == NONE).any():
        raise ValueError(
            "The scores of the model are NaN. Either its parameters are, or the prime "
            "holds an id that is out of its vocabulary."
        )
    return state, ids


@functools.partial(jax.jit, static_argnames=("model", "steps"))
def _generate(
    model: Layer,
    params: Params,
    state: State | None,
    prime: Array,
    steps: int,
    key: PRNGKey | None,
    cuts: tuple[Array, Array | None, Array | None] | None,
    end: Array | None,
    lengths: Array | None,
) -> tuple[State, Array]:
    state, logits = model.apply(params, state, prime, lengths=lengths)
    last = prime.shape[-1] - 1 if lengths is None else jnp.maximum(lengths - 1, 0)
    where = jnp.broadcast_to(jnp.asarray(last), prime.shape[:-1])[..., None, None]
    logits = jnp.take_along_axis(logits, where, axis=-2)[..., 0, :]
    keys = jnp.arange(steps) if key is None else jax.random.split(key, steps)
    done = jnp.zeros(prime.shape[:-1], bool)

    def choose(logits: Array, done: Array, key: Array) -> tuple[Array, Array]:
        drawn = jnp.argmax(logits, -1) if cuts is None else sample(key, logits, *cuts)
        wrong = jnp.any(jnp.isnan(logits), axis=-1)  # argmax would name a symbol
        symbol = jnp.where(wrong, NONE, drawn).astype(prime.dtype)
        if end is None:
            return symbol, done
        symbol = jnp.where(done, end, symbol).astype(prime.dtype)
        return symbol, done | (symbol == end)

    def body(carry: tuple[State, Array, Array], key: Array) -> tuple[Any, Array]:
        state, symbol, done = carry
        mask = None if end is None else ~done[..., None]
        state, logits = model.apply(params, state, symbol[..., None], mask=mask)
        symbol, done = choose(logits[..., 0, :], done, key)
        return (state, symbol, done), symbol

    if steps == 0:
        return state, prime[..., :0]
    symbol, done = choose(logits, done, keys[0])
    carry, rest = jax.lax.scan(body, (state, symbol, done), keys[1:])
    return carry[0], jnp.moveaxis(jnp.concatenate([symbol[None], rest]), 0, -1)


def sample(
    key: PRNGKey,
    logits: Array,
    temperature: Array | float = 1.0,
    top_k: Array | int | None = None,
    top_p: Array | float | None = None,
) -> Array:
    """Draws one symbol from each row of logits, as `generate` does at every step.

    Args:
      key: Source of randomness.
      logits: Scores [..., vocabulary].
      temperature: Positive.
      top_k: Number of likeliest symbols to draw from; None for all.
      top_p: Probability that the likeliest symbols to draw from reach; None for all.

    Returns:
      Ids [...]. The likeliest symbol is always among those drawn from.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> int(sample(jax.random.key(0), jnp.array([0.0, 9.0, 1.0]), top_k=1))
      1
    """
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32)) / temperature
    if top_k is None and top_p is None:
        return jax.random.categorical(key, logits)
    order = jnp.argsort(-logits, axis=-1)  # ties by number, so that k means k
    ranked = jnp.take_along_axis(logits, order, axis=-1)
    rank = jnp.arange(logits.shape[-1])
    if top_k is not None:
        ranked = jnp.where(rank < top_k, ranked, -jnp.inf)
    if top_p is not None:
        p = jax.nn.softmax(ranked, axis=-1)
        before = jnp.cumsum(p, axis=-1) - p
        ranked = jnp.where((before < top_p) | (rank == 0), ranked, -jnp.inf)
    choice = jax.random.categorical(key, ranked)
    return jnp.take_along_axis(order, choice[..., None], axis=-1)[..., 0]
