"""Scores held-out text: one pass from its beginning to its end, state carried along."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.char_lm.corpus import Corpus
from jrnn import training
from jrnn.types import Array, Params, State

CHUNK = 2048  # characters per call
GLANCE = 4 * CHUNK  # characters of the estimates during training


def held_out_loss(
    model: jrnn.Sequential,
    params: Params,
    corpus: Corpus,
    limit: int | None = None,
    progress: Callable[[float], Any] = lambda share: None,
) -> float:
    """Returns the mean negative log-likelihood of held-out characters, in nats.

    Every character counts. The first is guessed from the last one of the training
    part, all others from the whole held-out text before them.

    Args:
      model: The model.
      params: Its parameters, on one device.
      corpus: The text.
      limit: Number of characters after which to stop; None for all.
      progress: Is told now and then which share is done.
    """
    text = np.concatenate([corpus.train[-1:], corpus.held_out[:limit]])
    chunks = training.split_into_chunks((text[None, :-1], text[None, 1:]), CHUNK)
    state = model.initial_state(params, (1,))
    total, number = 0.0, len(chunks.mask)
    for index in range(number):
        chunk = jax.tree.map(lambda a, i=index: a[i], chunks)
        state, loss = _score(model, params, state, chunk)
        total += float(loss) * int(chunk.mask.sum())
        progress((index + 1) / number)
    return total / (len(text) - 1)


@functools.partial(jax.jit, static_argnames="model")
def _score(
    model: jrnn.Sequential, params: Params, state: State, chunk: training.Chunk
) -> tuple[State, Array]:
    inputs, targets = chunk.data
    state, logits = model.apply(params, state, inputs, mask=chunk.mask)
    return state, training.cross_entropy(logits, targets, chunk.mask)


def on_one_device(params: Params) -> Params:
    """Returns parameters that one device holds, whatever number they came from."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), params)
