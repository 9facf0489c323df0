"""Scores held-out text in one pass, with the state carried along."""

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
GLANCE = 4 * CHUNK  # characters for estimates during training


def held_out_loss(
    model: jrnn.Sequential,
    params: Params,
    corpus: Corpus,
    limit: int | None = None,
    progress: Callable[[float], Any] = lambda fraction: None,
) -> float:
    """Returns the mean negative log-likelihood of held-out characters, in nats.

    Every character counts. The first one is predicted from the last character of the
    training text, and the others from all held-out text before them.

    Args:
      model: The model.
      params: Its parameters, on one device.
      corpus: The text.
      limit: The number of characters to score; None for all.
      progress: A function that is called with the fraction that is done.
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
    """Copies parameters from any number of devices to one device."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), params)
