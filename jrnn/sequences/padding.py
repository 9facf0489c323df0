"""Padding: sequences of different lengths as one array."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jrnn import checks


def pad(
    sequences: Sequence[Any],
    *,
    length: int | None = None,
    rows: int | None = None,
    value: Any = 0,
) -> tuple[Any, np.ndarray]:
    """Pads sequences at the end to one length.

        xs[n, :lengths[n]] = sequences[n],    xs[n, lengths[n]:] = value

    Args:
      sequences: Arrays [time_n, ...] that differ in their first axis only, or trees of
        such arrays, as pairs of inputs and targets are.
      length: Time steps of the result; None for the longest sequence. With a few fixed
        lengths, a model compiles only a few times; see `bucket_lengths`.
      rows: Rows of the result; None for one per sequence. Additional rows have length
        0.
      value: The value of padded steps.

    Returns:
      The array [rows, length, ...], or a tree of them, and the lengths, int32 [rows],
      for the `lengths` of `jrnn.scan` and of layers. Both are numpy arrays.

    Raises:
      ValueError: if there is no sequence, if one is longer than `length`, if there are
        more than `rows`, or if shapes differ in other axes than the first.
      TypeError: if the trees or the dtypes differ, or a dtype cannot represent `value`.

    Example:
      >>> import jrnn
      >>> xs, lengths = jrnn.sequences.pad([[1, 2, 3], [4]])
      >>> xs.tolist(), lengths.tolist()
      ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    trees, lengths = ragged(sequences)
    length = int(lengths.max()) if length is None else length
    rows = len(trees) if rows is None else rows
    length = checks.integer("length", length, 0)
    rows = checks.integer("rows", rows, 1)
    if len(trees) > rows:
        raise ValueError(
            f"rows must be at least the number of sequences, {len(trees)}, got {rows}."
        )
    fits("length", length, lengths)

    def fill(*leaves: np.ndarray) -> np.ndarray:
        _holds(leaves[0].dtype, value)
        out = np.full((rows, length, *leaves[0].shape[1:]), value, leaves[0].dtype)
        for row, leaf in zip(out, leaves, strict=False):
            row[: len(leaf)] = leaf
        return out

    lengths = np.pad(lengths, (0, rows - len(lengths)))
    return jax.tree.map(fill, *trees), lengths


def ragged(sequences: Sequence[Any]) -> tuple[list[Any], np.ndarray]:
    """Returns sequences as trees of numpy arrays, and their lengths, int32.

    Raises:
      ValueError: if there is none, or if shapes do not fit together.
      TypeError: if trees or dtypes differ.
    """
    read = [jax.tree.flatten(sequence, _is_list) for sequence in sequences]
    structures: list[Any] = [structure for _, structure in read]
    for number, structure in enumerate(structures):
        if structure != structures[0]:
            raise TypeError(
                f"sequences[{number}] is {structure}, but sequences[0] is "
                f"{structures[0]}; all must be the same."
            )
    columns = zip(*(leaves for leaves, _ in read), strict=True)
    rows = zip(*map(_arrays, columns), strict=True)
    trees = [structures[0].unflatten(row) for row in rows]
    if not trees:
        raise ValueError(
            "sequences must contain at least one sequence with an array, got none."
        )
    first = checks.named_leaves("sequences[0]", trees[0])
    lengths = []
    for number, tree in enumerate(trees):
        leaves = checks.named_leaves(f"sequences[{number}]", tree)
        for (name, leaf), like in zip(leaves.items(), first.values(), strict=True):
            _alike(name, leaf, like)
        sizes = {name: len(leaf) for name, leaf in leaves.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(
                f"the leaves of a sequence must share their time axis: {sizes}."
            )
        lengths.append(next(iter(sizes.values())))
    return trees, np.array(lengths, np.int32)


def fits(name: str, length: int, lengths: np.ndarray) -> None:
    """Raises if a sequence is longer than a row."""
    longest = int(lengths.argmax())
    if lengths[longest] > length:
        raise ValueError(
            f"{name} is {length}, but sequences[{longest}] has {lengths[longest]} "
            f"steps. Use {name}={lengths[longest]}, or cut it with "
            "`jrnn.training.split_into_chunks`."
        )


# Kinds of values that a kind of dtype can hold; V is bfloat16.
_KINDS = {
    **dict.fromkeys("iub", "iub"),
    **dict.fromkeys("fV", "iubfV"),
    "c": "iubfVc",
}


def _holds(dtype: np.dtype, value: Any) -> None:
    """Raises if a dtype cannot hold the value of the padding: numpy would truncate it.

    What a floating-point number rounds is held.
    """
    given = np.asarray(value)
    wrong = given.dtype.kind not in _KINDS.get(dtype.kind, given.dtype.kind)
    if not wrong and dtype.kind in "iub":
        wrong = bool(np.any(given != given.astype(dtype)))
    if wrong:
        raise TypeError(
            f"value is {value!r}, which sequences of {dtype} cannot represent. Cast "
            "them, or choose another value."
        )


def _is_list(node: Any) -> bool:
    """Whether a node of a tree is a list, which stands for an array."""
    return isinstance(node, list)


def _arrays(leaves: Sequence[Any]) -> list[np.ndarray]:
    """Reads one leaf of all sequences; an empty list has the dtype of the others."""
    arrays = [np.asarray(leaf) for leaf in leaves]
    typed = [not _is_list(leaf) or len(leaf) > 0 for leaf in leaves]
    like = arrays[typed.index(True)] if any(typed) else arrays[0]
    empty = np.zeros((0, *like.shape[1:]), like.dtype)
    return [a if known else empty for a, known in zip(arrays, typed, strict=True)]


def _alike(name: str, leaf: np.ndarray, like: np.ndarray) -> None:
    if leaf.ndim == 0 or leaf.shape[1:] != like.shape[1:]:
        raise ValueError(
            f"{name} must be [time, {', '.join(map(str, like.shape[1:]))}] like the "
            f"first sequence, got {list(leaf.shape)}."
        )
    if leaf.dtype != like.dtype:
        raise TypeError(
            f"{name} is {leaf.dtype}, but the first sequence is {like.dtype}."
        )
