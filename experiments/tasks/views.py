"""What the report shows of a model: readings, gradients, networks that write."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.run.task import Generator, Reading
from jrnn import numerics, training
from jrnn.text import EOS, UNK, Vocabulary
from jrnn.types import Array, Layer, Params, State

LAGS = 96  # steps that gradients of a text flow back
ROWS = 16  # sequences over which gradients are averaged


def outputs(
    layer: Layer, params: Params, state: State, xs: Any, found: dict[str, Array]
) -> Array:
    """Applies a model, and adds the outputs of its recurrent layers to a dict."""
    if isinstance(layer, jrnn.Tied):
        vectors, read = after_embedding(layer, params, xs)
        outputs(layer.body, params.body, state, vectors, found)
        return read(vectors)
    if isinstance(layer, jrnn.Sequential) or (
        isinstance(layer, jrnn.Stack) and not layer.skip
    ):
        states = (None,) * len(params) if state is None else state
        for each, p, s in zip(layer.layers, params, states, strict=True):
            xs = outputs(each, p, s, xs, found)
        return xs
    _, ys = layer.apply(params, state, xs)
    recurrent = isinstance(layer, jrnn.Recurrent | jrnn.Bidirectional)
    if recurrent and ys.ndim == xs.ndim:
        found[f"layer {len(found) + 1}"] = ys.reshape(*ys.shape[:2], -1)
    return ys


def reading(model: Any, params: Params, ids: np.ndarray, words: Vocabulary) -> Reading:
    """Returns how a language model reads a text.

    Args:
      model: From ids [1, T] to logits [1, T, symbols].
      params: Its parameters.
      ids: Integers [T]; the first token is read, but not shown.
      words: The vocabulary.
    """
    logits, found = _read(model, params, jnp.asarray(ids[None]))
    symbols = names(words)
    return Reading(
        tokens=[symbols[i] for i in ids[1:].tolist()],
        logits=logits[0, :-1],
        answers=jnp.asarray(ids[1:]),
        symbols=symbols,
        layers={name: ys[0, 1:] for name, ys in found.items()},
    )


def names(words: Vocabulary) -> list[str]:
    """Returns the tokens of a vocabulary, specials included, as strings."""
    return [*words.specials, *map(str, words.tokens)]


def writer(
    model: Any, params: Params, words: Vocabulary, starts: dict[str, State], prime: int
) -> Generator:
    """Returns a language model as a network that writes.

    Args:
      model: From ids to logits.
      params: Its parameters.
      words: The vocabulary; `<unk>` is never written, `<eos>` ends a text.
      starts: States to start from, for one row.
      prime: The id to read first.
    """

    def step(state: State, token: Array) -> tuple[State, Array]:
        state, logits = model.apply(params, state, token.reshape(1, 1))
        return state, logits[0, 0]

    special = {name: number for number, name in enumerate(words.specials)}
    return Generator(
        step=step,
        starts=starts,
        symbols=names(words),
        unit=words.unit,
        prime=[prime],
        banned=[special[UNK]] if UNK in special else [],
        end=special.get(EOS),
    )


def text_by_lag(model: Any, params: Params, ids: np.ndarray) -> Array | None:
    """Returns the gradient by lag of a language model, at places in a text [T]."""
    if len(ids) < LAGS + ROWS:
        return None
    starts = np.linspace(0, len(ids) - LAGS - 1, ROWS).astype(int)
    rows = jnp.asarray(np.stack([ids[n : n + LAGS + 1] for n in starts]))
    return by_lag(model, params, rows[:, :-1], rows[:, -1])


def by_lag(
    model: Any,
    params: Params,
    inputs: Any,
    answers: Any,
    loss: Callable[[Array, Array], Array] = training.cross_entropy,
    state: State = None,
    after: int = 0,
) -> Array:
    """Returns norms of the gradient of the loss at the last step, [lags].

        G[lag] = mean over rows of || d loss(y_T) / d x_T-lag ||,    lag = 0, 1, ...

    The inputs x of a model that begins with an embedding are the vectors of its tokens.
    A model that reads in both directions also reads the steps after T.

    Args:
      model: A layer, `Sequential` or `Tied` if it begins with an embedding.
      params: Its parameters.
      inputs: [rows, lags] ids, or [rows, lags, features]; `ROWS` of them are used.
      answers: [rows, ...] of the last step.
      loss: Takes outputs [rows, ...] and answers, returns the mean loss.
      state: Where the rows begin; None for the initial state of the model.
      after: Steps of the inputs that follow step T.
    """
    some = (jnp.asarray(inputs)[:ROWS], jnp.asarray(answers)[:ROWS])
    start = jax.tree.map(lambda leaf: leaf[:ROWS], state)
    return _by_lag(model, params, *some, loss, start, after)


@functools.partial(jax.jit, static_argnames=("model", "loss", "after"))
def _by_lag(
    model: Any,
    params: Params,
    inputs: Any,
    answers: Any,
    loss: Any,
    state: State,
    after: int,
) -> Array:
    vectors, run = after_embedding(model, params, inputs, state)
    last = inputs.shape[1] - 1 - after

    def total(vectors: Array) -> Array:
        ys = run(vectors)
        y = ys if model.over_time == "reduce" else ys[:, last]
        return loss(y, answers) * len(y)

    norms = numerics.norm(jax.grad(total)(vectors), batch_axes=2).value
    return jnp.mean(norms[:, : last + 1], axis=0)[::-1]


def after_embedding(
    model: Any, params: Params, inputs: Array, state: State = None
) -> tuple[Array, Callable[[Array], Array]]:
    """Returns the vectors that a model reads from a state, and the rest of the model.

    The state of a `Tied` model is its initial one.
    """
    if isinstance(model, jrnn.Tied):
        table, b = params.embed.table, 0.0 if params.b is None else params.b

        def read(xs: Array) -> Array:
            return model.body.apply(params.body, None, xs)[1] @ table.T + b

        return model.embed.apply(params.embed, (), inputs)[1], read
    if isinstance(model, jrnn.Sequential) and isinstance(model.layers[0], jrnn.Embed):
        rest = jrnn.Sequential(*model.layers[1:])
        _, vectors = model.layers[0].apply(params[0], (), inputs)
        inner = None if state is None else state[1:]
        return vectors, lambda xs: rest.apply(params[1:], inner, xs)[1]
    return inputs, lambda xs: model.apply(params, state, xs)[1]


@functools.partial(jax.jit, static_argnames="model")
def dependence(
    model: jrnn.EncoderDecoder, params: Any, source: Array, target: Array, lengths: Any
) -> Array:
    """Returns how much each symbol of an answer depends on each one of the source.

        w[t, s] = || d log p(target_t) / d x_s ||,  divided by the largest for each t

    Args:
      model: Its encoder begins with an embedding, of vectors x.
      params: Its parameters.
      source: Ids [rows, S].
      target: Ids [rows, T].
      lengths: Integers [rows], symbols of each source.

    Returns:
      [rows, T, S], at most one.
    """
    encoder: Any = model.encoder
    embed, *layers = encoder.layers
    _, vectors = embed.apply(params.encoder[0], (), source)
    rest = dataclasses.replace(model, encoder=jrnn.Sequential(*layers))
    inner = params._replace(encoder=params.encoder[1:])

    def chances(vectors: Array) -> Array:
        logits = rest.apply(inner, vectors, target, lengths=lengths)
        log_p = jax.nn.log_softmax(logits)
        chosen = jnp.take_along_axis(log_p, target[..., None], axis=-1)[..., 0]
        return jnp.sum(chosen, axis=0)

    slopes = jnp.moveaxis(jax.jacrev(chances)(vectors), 0, 1)
    norms = numerics.norm(slopes, batch_axes=3).value
    return norms / jnp.maximum(jnp.max(norms, axis=-1, keepdims=True), 1e-30)


@functools.partial(jax.jit, static_argnames="model")
def _read(model: Any, params: Params, ids: Array) -> tuple[Array, dict[str, Array]]:
    found: dict[str, Array] = {}
    logits = outputs(model, params, None, ids, found)
    return logits, found
