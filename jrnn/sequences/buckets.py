"""Buckets: batches of similar lengths, in a bounded number of shapes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jrnn import checks


class Batch(NamedTuple):
    """The indices of the sequences of a batch, and the length to pad them to."""

    indices: np.ndarray  # int [at most batch_size]
    length: int


def bucket_lengths(lengths: Any, number: int) -> tuple[int, ...]:
    """Returns the padded lengths that waste the fewest steps.

        minimize  sum_n (smallest bucket that holds lengths[n]) - lengths[n]

    The minimum is exact, by dynamic programming over the distinct lengths.

    Args:
      lengths: Integers [sequences].
      number: The number of buckets, which bounds how often a model compiles.

    Returns:
      At most `number` lengths, increasing; the last is the longest of all.

    Raises:
      ValueError: if there are no lengths, one is negative, or `number` is below 1.

    Example:
      >>> import jrnn
      >>> jrnn.sequences.bucket_lengths([2, 3, 3, 9, 10, 10], number=2)
      (3, 10)
    """
    number = checks.integer("number", number, 1)
    sizes, counts = np.unique(_integers("lengths", lengths), return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])  # sequences below each size
    # steps[j]: padded steps of all sequences up to size j, with the buckets so far.
    steps = sizes * before[1:]
    choices: list[np.ndarray] = []
    for _ in range(min(number, len(sizes)) - 1):
        earlier = np.concatenate([[0], steps[:-1]])
        cost = earlier[None] + sizes[:, None] * (before[1:, None] - before[None, :-1])
        cost = np.where(np.tri(len(sizes), dtype=bool), cost, np.iinfo(np.int64).max)
        choices.append(cost.argmin(axis=1))  # first size of the last bucket
        steps = cost.min(axis=1)
    chosen, last = [], len(sizes) - 1
    for choice in [*choices[::-1], np.zeros(len(sizes), np.int64)]:
        chosen.append(int(sizes[last]))
        last = int(choice[last]) - 1
        if last < 0:
            break
    return tuple(chosen[::-1])


def batches(
    lengths: Any,
    batch_size: int,
    *,
    buckets: Sequence[int] | int = 8,
    seed: int | None = None,
) -> list[Batch]:
    """Sorts sequences into batches of similar lengths, in a bounded number of shapes.

    Pad each with `pad(..., length=batch.length, rows=batch_size)`, and a model compiles
    once for each bucket. The rows that fill the last batch of a bucket have length 0.

    Args:
      lengths: Integers [sequences].
      batch_size: Sequences in a batch; the last batch of a bucket may have fewer.
      buckets: The padded lengths, or how many `bucket_lengths` chooses.
      seed: Shuffles the sequences of a bucket and the order of the batches; the same
        seed gives the same batches. None keeps the order.

    Returns:
      Batches that together contain each sequence once.

    Raises:
      ValueError: if a sequence is longer than the longest bucket, or a length is
        negative.

    Example:
      >>> import jrnn
      >>> for batch in jrnn.sequences.batches([2, 9, 3, 3, 10], 2, buckets=2):
      ...     print(batch.indices.tolist(), batch.length)
      [0, 2] 3
      [3] 3
      [1, 4] 10
    """
    batch_size = checks.integer("batch_size", batch_size, 1)
    lengths = _integers("lengths", lengths)
    if np.ndim(buckets) == 0:
        buckets = bucket_lengths(lengths, checks.integer("buckets", buckets, 1))
    bounds = np.unique(_integers("buckets", buckets))
    if lengths.max() > bounds[-1]:
        raise ValueError(
            f"the longest bucket is {bounds[-1]}, but lengths[{lengths.argmax()}] is "
            f"{lengths.max()}. Add a longer bucket, or pass a number of buckets."
        )
    rng = None if seed is None else np.random.default_rng(seed)
    made = []
    for number, bound in enumerate(bounds):
        members = np.flatnonzero(np.searchsorted(bounds, lengths) == number)
        if rng is not None:
            members = rng.permutation(members)
        for first in range(0, len(members), batch_size):
            made.append(Batch(members[first : first + batch_size], int(bound)))
    if rng is not None:
        made = [made[index] for index in rng.permutation(len(made))]
    return made


def _integers(name: str, values: Any) -> np.ndarray:
    """Returns lengths, int64 [values].

    Raises:
      ValueError: if there are none, if one is negative, or if there are other axes.
      TypeError: if they are not integers.
    """
    checks.at_least(f"number of {name}", np.size(values), 1)
    found = np.asarray(values)
    if not np.issubdtype(found.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got {found.dtype}.")
    if found.ndim != 1:
        raise ValueError(
            f"{name} must have one axis, got the shape {list(found.shape)}. Flatten "
            f"them with `np.ravel({name})`."
        )
    found = found.astype(np.int64)
    least = int(found.argmin())
    checks.at_least(f"{name}[{least}]", int(found[least]), 0)
    return found
