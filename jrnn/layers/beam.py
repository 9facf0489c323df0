"""Beam search: the most likely sequences of a model, in one compiled loop."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, numerics
from jrnn.layers.priming import check_end, check_finite, check_prime, read_prime
from jrnn.types import Array, Layer, Params, State
from jrnn.values import without_init_options


class Beams(NamedTuple):
    """The sequences that a beam search found, the best first."""

    tokens: Array  # [*batch, beams, steps]; `end` after the end
    scores: Array  # [*batch, beams], what they are ranked by
    lengths: Array  # int32 [*batch, beams], tokens up to and with `end`


def beam_search(
    model: Layer,
    params: Params,
    state: State | None,
    prime: Array,
    steps: int,
    *,
    beams: int = 4,
    end: int | None = None,
    length_penalty: float = 0.0,
    lengths: Array | None = None,
) -> Beams:
    """Searches for the most likely sequences that continue the given ones.

        score(y) = log p(y | prime) / ((5 + length(y)) / 6) ** length_penalty    [1]

    At every step, each sequence is extended by every token, and the `beams` best are
    kept. A sequence that has ended keeps its score and its length, and stays as long as
    it is among the best. With as many beams as there are sequences, the result is
    exact.

    Args:
      model: A layer from ids [*batch, time] to logits [*batch, time, vocabulary].
      params: The parameters of the model.
      state: The state before the prime; None for the initial state.
      prime: Ids [*batch, time] to continue, at least one per row.
      steps: The largest number of tokens.
      beams: The number of sequences to keep for each row.
      end: The token that ends a sequence; None if there is no such token.
      length_penalty: 0 ranks by probability, which favors short sequences; larger
        values favor long ones.
      lengths: Integers [*batch], the number of valid steps of each row of the prime.

    Returns:
      The sequences, the best first. Where fewer than `beams` exist, scores are -inf.

    Raises:
      ValueError: if outputs of the model depend on later steps, the prime is empty or
        an argument is out of range.
      TypeError: if the ids of the prime are not integers.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> model = jrnn.Sequential(
      ...     jrnn.Embed(7, 4), jrnn.Recurrent(jrnn.GRU(5)), jrnn.Dense(7)
      ... )
      >>> params = model.init(jax.random.key(0))
      >>> found = jrnn.beam_search(
      ...     model, params, None, jnp.array([[1, 2]]), 6, beams=3, end=0
      ... )
      >>> found.tokens.shape, found.scores.shape
      ((1, 3, 6), (1, 3))

    References:
      [1] Wu et al., 2016, https://arxiv.org/abs/1609.08144
    """
    prime, lengths = check_prime(model, prime, lengths)
    steps = checks.integer("steps", steps, 1)
    beams = checks.integer("beams", beams, 1)
    checks.number("length_penalty", length_penalty)
    if checks.concrete(length_penalty):
        checks.finite("length_penalty", length_penalty)
    check_end(model, end)
    model = without_init_options(model)
    found = _search(
        model, params, state, prime, steps, beams, end, length_penalty, lengths
    )
    check_finite(jnp.isnan(found.scores))
    return found


class _Search(NamedTuple):
    """What is carried from step to step; beams come first."""

    state: State  # [beams, *batch, ...]
    tokens: Array  # [beams, *batch, steps]
    last: Array  # [beams, *batch] the token to read next
    total: Array  # [beams, *batch] log-probability
    length: Array  # int32 [beams, *batch]
    done: Array  # booleans [beams, *batch]


@functools.partial(jax.jit, static_argnames=("model", "steps", "beams"))
def _search(
    model: Layer,
    params: Params,
    state: State | None,
    prime: Array,
    steps: int,
    beams: int,
    end: Array | None,
    length_penalty: Array,
    lengths: Array | None,
) -> Beams:
    state, logits = read_prime(model, params, state, prime, lengths)
    wide, batch = numerics.wide(logits), prime.shape[:-1]
    filler = jnp.asarray(0 if end is None else end, prime.dtype)

    def spread(leaf: Array) -> Array:
        return jnp.broadcast_to(leaf, (beams, *leaf.shape))

    def score(search: _Search, total: Array) -> Array:
        penalty = ((5 + search.length.astype(wide)) / 6) ** length_penalty
        return total / penalty.reshape(
            penalty.shape + (1,) * (total.ndim - penalty.ndim)
        )

    def extend(search: _Search, logits: Array, t: Any) -> _Search:
        """Keeps the best of all sequences with one more token."""
        vocabulary = logits.shape[-1]
        gains = jax.nn.log_softmax(logits.astype(wide), axis=-1)
        # A sequence that has ended has one continuation, which costs nothing.
        ended = jnp.where(
            jnp.arange(vocabulary, dtype=filler.dtype) == filler, 0.0, -jnp.inf
        )
        gains = jnp.where(search.done[..., None], ended.astype(wide), gains)
        totals = search.total[..., None] + gains  # [beams, *batch, vocabulary]
        search = search._replace(
            length=search.length + (~search.done).astype(jnp.int32)
        )
        ranked = jnp.moveaxis(score(search, totals), 0, -2)
        _, best = jax.lax.top_k(ranked.reshape(*batch, beams * vocabulary), beams)
        best = jnp.moveaxis(best, -1, 0)  # [beams, *batch]
        parent, token = best // vocabulary, best % vocabulary

        def choose(leaf: Array) -> Array:
            axes = (1,) * (leaf.ndim - parent.ndim)
            return jnp.take_along_axis(leaf, parent.reshape(*parent.shape, *axes), 0)

        search, totals = jax.tree.map(choose, (search, totals))
        total = jnp.take_along_axis(totals, token[..., None], axis=-1)[..., 0]
        token = token.astype(prime.dtype)
        return search._replace(
            tokens=search.tokens.at[..., t].set(token),
            last=token,
            total=total,
            done=search.done if end is None else search.done | (token == filler),
        )

    def advance(state: State, token: Array) -> tuple[State, Array]:
        state, logits = model.apply(params, state, token[..., None])
        return state, logits[..., 0, :]

    def body(search: _Search, t: Array) -> tuple[_Search, None]:
        # Parameters, and a memory in them, are the same for all beams.
        state, logits = jax.vmap(advance)(search.state, search.last)
        return extend(search._replace(state=state), logits, t), None

    # All beams are equal at first, so only one of them is extended.
    alone = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf).astype(wide)
    search = _Search(
        state=jax.tree.map(spread, state),
        tokens=jnp.full((beams, *batch, steps), filler),
        last=jnp.full((beams, *batch), filler),
        total=jnp.zeros((beams, *batch), wide) + alone.reshape(-1, *(1,) * len(batch)),
        length=jnp.zeros((beams, *batch), jnp.int32),
        done=jnp.zeros((beams, *batch), bool),
    )
    search = extend(search, spread(logits), 0)
    search, _ = jax.lax.scan(body, search, jnp.arange(1, steps))
    scores = jnp.moveaxis(score(search, search.total), 0, -1)
    return Beams(
        jnp.moveaxis(search.tokens, 0, -2), scores, jnp.moveaxis(search.length, 0, -1)
    )
