"""What several tasks share: examples drawn by row, and scores over many examples."""

import hashlib
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.run.options import Options
from experiments.run.task import Progress, row_keys
from jrnn.types import Array


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
