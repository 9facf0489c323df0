"""What several tasks share: examples drawn by row, and scores over many examples."""

import functools
import hashlib
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.run.options import Options
from experiments.run.task import Progress, row_keys
from jrnn import training
from jrnn.types import Array, Params, State

FRESH = 40  # updates between two beginnings of a row of a text


def draw(options: Options, arrays: Any, step: Array, rows: Array) -> Any:
    """Returns random examples, one for each row, with replacement.

    Args:
      options: The recipe.
      arrays: A tree of arrays [examples, ...].
      step: The number of updates before this one.
      rows: Integers [rows].
    """
    size = len(jax.tree.leaves(arrays)[0])
    keys = row_keys(options, step, rows)
    index = jax.vmap(lambda key: jax.random.randint(key, (), 0, size))(keys)
    return jax.tree.map(lambda a: a[index], arrays)


def stream(options: Any, tokens: Array, step: Array, rows: Array) -> Any:
    """Returns inputs and targets [rows, chunk] of one long text.

    Row b starts at position b/B of the text, and continues at the beginning when it
    reaches the end. Each step continues where the step before it ended.

    Args:
      options: With `batch_size` and `chunk`.
      tokens: Integers [tokens].
      step: The number of updates before this one.
      rows: Integers [rows].
    """
    size = len(tokens)
    starts = np.arange(options.batch_size) * size // options.batch_size
    place = jnp.asarray(starts, jnp.int32)[rows] + times(step, options.chunk, size)
    read = tokens[(place[:, None] + jnp.arange(options.chunk + 1)) % size]
    return read[:, :-1], read[:, 1:]


def fresh(step: Any, rows: Any) -> Any:
    """Returns which rows of a text forget what they read: each in every 40th update.

    Samples and scores begin without a past. A model that never did so in training can
    fall into a state in which it predicts badly for a long time.

    Example:
      >>> [int(np.sum(fresh(step, np.arange(80)))) for step in range(3)]
      [2, 2, 2]
    """
    return (step + rows) % FRESH == 0


def stream_loss(
    model: Any,
    params: Params,
    train: Any,
    held_out: np.ndarray,
    size: int,
    progress: Progress,
) -> float:
    """Returns the mean loss of every held-out token, with the state carried along.

    The first one is predicted from the last token of the training text, and the others
    from all held-out text before them.

    Args:
      model: The model.
      params: Its parameters.
      train: Integers [tokens], of which the last one is read.
      held_out: Integers [tokens].
      size: Tokens per call.
      progress: Called with the fraction that is done.
    """
    text = np.concatenate([train[-1:], held_out])
    chunks = training.split_into_chunks((text[None, :-1], text[None, 1:]), size)
    state = model.initial_state(params, (1,))
    total, number = 0.0, len(chunks.mask)
    for index in range(number):
        chunk = jax.tree.map(lambda a, i=index: a[i], chunks)
        state, loss = chunk_loss(model, params, state, chunk)
        total += float(loss) * int(chunk.mask.sum())
        progress((index + 1) / number)
    return total / len(held_out)


def frequency_nats(counts: Any, held_out: np.ndarray) -> float:
    """Returns the loss of a model that knows how often each token occurs.

        mean over held-out tokens of -log((count + 1) / sum(counts + 1))

    Args:
      counts: How often each token occurs in the training text.
      held_out: Integers [tokens].

    Example:
      >>> nats = frequency_nats([2, 1], np.array([0]))
      >>> round(float(np.exp(-nats)), 3)  # (2 + 1) / (3 + 2)
      0.6
    """
    more = np.add(counts, 1)
    return float(-np.mean(np.log(more / more.sum())[held_out]))


@functools.partial(jax.jit, static_argnames=("model", "part"))
def chunk_loss(
    model: Any, params: Params, state: State, chunk: training.Chunk, part: bool = False
) -> tuple[State, Array]:
    """Returns the state after a chunk and the mean loss where its mask is True.

    With `part`, steps whose mask is False are read too.
    """
    inputs, targets = chunk.data
    mask = None if part else chunk.mask
    state, logits = model.apply(params, state, inputs, mask=mask)
    return state, training.cross_entropy(logits, targets, chunk.mask)


def times(step: Array, factor: int, modulus: int) -> Array:
    """Returns step * factor modulo a number below 2^31, without overflow.

    Example:
      >>> int(times(jnp.int32(2**31 - 1), 64, 999_983)) == (2**31 - 1) * 64 % 999_983
      True
    """
    product, power = jnp.uint32(0), step.astype(jnp.uint32) % modulus
    while factor:
        product = (product + power * (factor % 2)) % modulus
        power, factor = power * 2 % modulus, factor // 2
    return product.astype(jnp.int32)


def mean_over_examples(
    values: Callable[[Any], Any], arrays: Any, progress: Progress, size: int = 256
) -> Any:
    """Returns the mean over all examples of what a function returns for a batch.

    Args:
      values: Takes a tree of arrays [size, ...] and returns a tree of arrays [size].
      arrays: A tree of arrays [examples, ...].
      progress: Called with the fraction that is done.
      size: Examples per call; the last call repeats the last example, and does not
        count it.
    """
    number = len(jax.tree.leaves(arrays)[0])
    total: Any = 0.0
    for first in range(0, number, size):
        index = np.minimum(np.arange(first, first + size), number - 1)
        counted = np.arange(first, first + size) < number
        found = values(jax.tree.map(lambda a, i=index: jnp.asarray(a[i]), arrays))
        sums = jax.tree.map(lambda a, c=counted: float(np.sum(a, where=c)), found)
        total = jax.tree.map(operator.add, total, sums) if first else sums
        progress(min(1.0, (first + size) / number))
    return jax.tree.map(lambda value: value / number, total)


def split_examples(arrays: Any, held_out: int, seed: int) -> tuple[Any, Any]:
    """Returns examples to train on, and examples to score, in a fixed random order."""
    number = len(jax.tree.leaves(arrays)[0])
    order = np.random.default_rng(seed).permutation(number)
    return tuple(
        jax.tree.map(lambda a, i=index: a[i], arrays)
        for index in (order[held_out:], order[:held_out])
    )


def fingerprint(arrays: Any) -> str:
    """Returns a hash that identifies arrays."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(arrays):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
