"""Packing: several sequences in one row, with little padding."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jrnn import checks
from jrnn.sequences.padding import fits, ragged


class Packed(NamedTuple):
    """Sequences packed into rows of one length."""

    xs: Any  # [rows, length, ...], or a tree of such arrays
    segment_ids: np.ndarray  # int32 [rows, length]: index of the sequence; -1 for none

    @property
    def mask(self) -> np.ndarray:
        """Which steps belong to a sequence, booleans [rows, length]."""
        return self.segment_ids >= 0

    @property
    def reset(self) -> np.ndarray:
        """Where a sequence starts after another in its row, booleans [rows, length]."""
        ids = self.segment_ids
        begins = np.diff(ids, axis=1, prepend=ids[:, :1]) != 0
        return begins & self.mask

    @property
    def fullness(self) -> float:
        """The fraction of all steps that belong to a sequence."""
        return float(self.mask.mean())


def pack(sequences: Sequence[Any], length: int) -> Packed:
    """Packs sequences into rows, the longest first, each into the first row with room.

    Pass the mask and the resets, and the result for every sequence is the same as if it
    was computed alone, in both directions:

        jrnn.scan(cell, params, None, packed.xs, mask=packed.mask, reset=packed.reset)

    Args:
      sequences: Arrays [time_n, ...] that differ in their first axis only, or trees of
        such arrays, as pairs of inputs and targets are.
      length: Time steps of a row.

    Returns:
      The rows, filled from the left, and the sequence of each step. `fullness` is the
      fraction of steps that is not padding. Padding is zero.

    Raises:
      ValueError: if a sequence is empty or longer than `length`, or shapes do not fit
        together.
      TypeError: if the trees or the dtypes differ.

    Example:
      >>> import jrnn
      >>> packed = jrnn.sequences.pack([[1, 2], [3, 4, 5], [6]], length=4)
      >>> packed.xs.tolist()
      [[3, 4, 5, 6], [1, 2, 0, 0]]
      >>> packed.segment_ids.tolist()
      [[1, 1, 1, 2], [0, 0, -1, -1]]
      >>> packed.fullness
      0.75
    """
    trees, lengths = ragged(sequences)
    length = checks.integer("length", length, 1)
    if not lengths.all():
        raise ValueError(
            f"sequences[{lengths.argmin()}] has no steps and cannot be packed. Remove "
            "it."
        )
    fits("length", length, lengths)
    rows, starts, used = _first_fit(lengths, length)
    segment_ids = np.full((used, length), -1, np.int32)
    for number, (row, start) in enumerate(zip(rows, starts, strict=True)):
        segment_ids[row, start : start + lengths[number]] = number

    def fill(*leaves: np.ndarray) -> np.ndarray:
        out = np.zeros((used, length, *leaves[0].shape[1:]), leaves[0].dtype)
        for leaf, row, start in zip(leaves, rows, starts, strict=True):
            out[row, start : start + len(leaf)] = leaf
        return out

    return Packed(jax.tree.map(fill, *trees), segment_ids)


def unpack(ys: Any, segment_ids: np.ndarray) -> list[Any]:
    """Takes the sequences out of packed rows, in their original order.

    Args:
      ys: Array [rows, length, ...], such as outputs, or a tree of such arrays.
      segment_ids: Integers [rows, length], `Packed.segment_ids`.

    Returns:
      One array [time_n, ...], or tree, per sequence.

    Raises:
      ValueError: if `segment_ids` do not have two axes, or if the arrays do not start
        with them.

    Example:
      >>> import jrnn
      >>> packed = jrnn.sequences.pack([[1, 2], [3, 4, 5], [6]], length=4)
      >>> ys = jrnn.sequences.unpack(10 * packed.xs, packed.segment_ids)
      >>> [y.tolist() for y in ys]
      [[10, 20], [30, 40, 50], [60]]
    """
    ids = np.asarray(segment_ids)
    if ids.ndim != 2:
        raise ValueError(
            f"segment_ids must be [rows, length], got {list(ids.shape)}. Pass those of "
            "`pack`."
        )
    ys = jax.tree.map(np.asarray, ys)
    for name, leaf in checks.named_leaves("ys", ys).items():
        if leaf.shape[:2] != ids.shape:
            rows = ", ".join(map(str, ids.shape))
            raise ValueError(
                f"{name} must be [{rows}, ...] like segment_ids, got "
                f"{list(leaf.shape)}. Swap the axes if time comes first."
            )
    order = np.argsort(ids, axis=None, kind="stable")[np.sum(ids < 0) :]
    ends = np.cumsum(np.bincount(ids[ids >= 0]))
    places = np.split(order, ends)[:-1]
    flat = jax.tree.map(lambda y: y.reshape(ids.size, *y.shape[2:]), ys)
    return [jax.tree.map(lambda y, at=at: y[at], flat) for at in places]


def _first_fit(lengths: np.ndarray, length: int) -> tuple[list[int], list[int], int]:
    """Returns the row and the first step of each sequence, and the number of rows."""
    row, start = [0] * len(lengths), [0] * len(lengths)
    room = np.full(len(lengths), length)  # never more rows than sequences
    for number in np.argsort(-lengths, kind="stable"):
        row[number] = int(np.argmax(room >= lengths[number]))
        start[number] = int(length - room[row[number]])
        room[row[number]] -= lengths[number]
    return row, start, max(row) + 1
