"""Generates tokens with a model, one at a time, in one compiled loop."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks, numerics
from jrnn.layers.priming import check_end, check_finite, check_prime, read_prime
from jrnn.types import Array, Layer, Params, PRNGKey, State
from jrnn.values import without_init_options

NONE = -1  # returned instead of a token if the logits of a model are NaN


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
    """Generates tokens that continue the given sequences.

        p = softmax(logits / temperature), restricted to top_k tokens, then to top_p
        token ~ p                                     greedy: argmax(logits)

    Args:
      model: A layer from ids [*batch, time] to logits [*batch, time, vocabulary].
      params: The parameters of the model.
      state: The state before the prime; None for the initial state.
      prime: Ids [*batch, time] to continue, at least one per row.
      steps: The number of tokens to generate.
      key: The random key; None for greedy decoding.
      temperature: Values above 1 flatten the distribution, values below 1 sharpen it; 0
        is greedy. If it is traced, it must be positive. A new value of this or of the
        arguments below does not recompile. All of them but `end` may be traced.
      top_k: Sample only from the k most likely tokens; None for all.
      top_p: Sample only from the smallest set of most likely tokens whose total
        probability is at least `top_p` [1]; None for all.
      end: The token that ends a sequence. All later tokens of that row are `end`, and
        its state no longer changes. None if no token ends a sequence.
      lengths: Integers [*batch], the number of valid steps of each row of the prime,
        which is padded at its end; None if all steps are valid.

    Returns:
      The state before the last generated token is read, and the tokens [*batch, steps],
      int32 (int64 for such ids).
      To continue, pass that state and the last token as the prime.

    Raises:
      ValueError: If outputs of the model depend on later steps, the prime is empty, an
        argument is out of range, or the logits are NaN, for example because an id is
        out of range. If the logits are traced, such tokens are -1.
      TypeError: If the ids of the prime are not integers.

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
    prime, lengths = check_prime(model, prime, lengths)
    steps = checks.integer("steps", steps, 0)
    checks.number("temperature", temperature)
    if checks.concrete(temperature):
        checks.at_least("temperature", temperature, 0)
    top_k = _checked_cuts(top_k, top_p)
    checks.key("key", key)
    check_end(model, end)
    greedy = key is None or (checks.concrete(temperature) and temperature == 0)
    cuts = None if greedy else (temperature, top_k, top_p)
    model = without_init_options(model)
    state, ids = _generate(model, params, state, prime, steps, key, cuts, end, lengths)
    check_finite(ids == NONE)
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
    state, logits = read_prime(model, params, state, prime, lengths)
    keys = jnp.arange(steps) if key is None else jax.random.split(key, steps)
    done = jnp.zeros(prime.shape[:-1], bool)

    def choose(logits: Array, done: Array, key: Array) -> tuple[Array, Array]:
        drawn = jnp.argmax(logits, -1) if cuts is None else sample(key, logits, *cuts)
        invalid = jnp.any(jnp.isnan(logits), axis=-1)
        token = jnp.where(invalid, NONE, drawn).astype(prime.dtype)
        if end is None:
            return token, done
        token = jnp.where(done, end, token).astype(prime.dtype)
        return token, done | (token == end)

    def body(carry: tuple[State, Array, Array], key: Array) -> tuple[Any, Array]:
        state, token, done = carry
        mask = None if end is None else ~done[..., None]
        state, logits = model.apply(params, state, token[..., None], mask=mask)
        token, done = choose(logits[..., 0, :], done, key)
        return (state, token, done), token

    if steps == 0:
        return state, prime[..., :0]
    token, done = choose(logits, done, keys[0])
    carry, rest = jax.lax.scan(body, (state, token, done), keys[1:])
    return carry[0], jnp.moveaxis(jnp.concatenate([token[None], rest]), 0, -1)


def _checked_cuts(top_k: Any, top_p: Any) -> Any:
    """Returns `top_k` as an integer, if it is known, and raises if a cut is wrong."""
    if checks.concrete(top_p):
        checks.fraction("top_p", top_p)
    return checks.integer("top_k", top_k, 1) if checks.concrete(top_k) else top_k


def sample(
    key: PRNGKey,
    logits: Array,
    temperature: Any = 1.0,
    top_k: Any = None,
    top_p: Any = None,
) -> Array:
    """Samples one token from each row of logits, as `generate` does at every step.

    Args:
      key: The random key.
      logits: Logits [..., vocabulary].
      temperature: A positive number; see `generate`.
      top_k: The number of most likely tokens to sample from; None for all.
      top_p: The total probability of the most likely tokens to sample from; None for
        all. The most likely token is always included.

    Returns:
      Ids [...].

    Raises:
      TypeError: If `key` is no key of `jax.random`.
      ValueError: If a number is out of range and its value is known.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> int(sample(jax.random.key(0), jnp.array([0.0, 9.0, 1.0]), top_k=1))
      1
    """
    checks.init_key(key)
    logits = jnp.asarray(logits)
    if checks.concrete(temperature):
        checks.positive("temperature", temperature)
    top_k = _checked_cuts(top_k, top_p)
    logits = logits.astype(numerics.wide(logits)) / temperature
    if top_k is None and top_p is None:
        return jax.random.categorical(key, logits)
    order = jnp.argsort(-logits, axis=-1)  # breaks ties by id
    ranked = jnp.take_along_axis(logits, order, axis=-1)
    rank = numerics.along(jnp.arange(logits.shape[-1]), logits)
    if top_k is not None:
        ranked = jnp.where(rank < top_k, ranked, -jnp.inf)
    if top_p is not None:
        p = jax.nn.softmax(ranked, axis=-1)
        before = jnp.cumsum(p, axis=-1) - p
        ranked = jnp.where((before < top_p) | (rank == 0), ranked, -jnp.inf)
    choice = jax.random.categorical(key, ranked)
    return jnp.take_along_axis(order, choice[..., None], axis=-1)[..., 0]
