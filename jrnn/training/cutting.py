"""Sequences that are to be cut along time: their arrays, and the axes they share."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jrnn import checks
from jrnn.types import Shape


def as_arrays(sequences: Any, convert: Callable[[Any], Any]) -> Any:
    """Converts the leaves of a tree, of which a list of numbers is one.

    Raises:
      ValueError: If the lists within a list have different lengths.
    """
    try:
        return jax.tree.map(convert, sequences, is_leaf=_is_list_of_numbers)
    except ValueError as error:
        raise ValueError(
            "sequences must share their time axis, but their lists have different "
            "lengths. Pad them by `jrnn.sequences.pad`."
        ) from error


def _is_list_of_numbers(node: Any) -> bool:
    """Whether a node of a tree is a list, also a nested one, without any array."""
    if not isinstance(node, list):
        return False
    leaves = jax.tree.leaves(node)
    return bool(leaves) and not any(map(np.ndim, leaves))


def time_axes(sequences: Any, batch_axes: int) -> Shape:
    """Returns the batch axes and the time axis that all arrays start with.

    Raises:
      ValueError: If they differ, or there are no steps.
    """
    batch_axes = checks.integer("batch_axes", batch_axes, 0)
    leaves = checks.named_leaves("sequences", sequences)
    shapes = {leaf.shape[: batch_axes + 1] for leaf in leaves.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) <= batch_axes:
        listed = {name: list(leaf.shape) for name, leaf in leaves.items()}
        raise ValueError(
            f"sequences must start with the same {batch_axes} batch axes and time "
            f"axis, but their shapes are {listed}. Pass the number of batch axes with "
            "`batch_axes=`."
        )
    shape = next(iter(shapes))
    if shape[-1] == 0:
        raise ValueError(
            "sequences have no time steps. Remove empty sequences, or pass the number "
            "of batch axes with `batch_axes=`."
        )
    return shape
