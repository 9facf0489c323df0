"""Arrays over time and batch as matrices, where their axes can be merged."""

import math
from collections.abc import Callable
from typing import Any

import jax

from jrnn.cells.affine import side_by_side
from jrnn.kernels import layouts


def apply(function: Callable[[Any], Any], tree: Any) -> Any:
    """Applies a function of vectors to leaves [T, *batch, F], as one matrix [rows, F].

    Only where axes can be merged.
    """
    if not _mergeable():
        return function(tree)
    axes = jax.tree.leaves(tree)[0].shape[:-1]
    number = math.prod(axes)
    rows = jax.tree.map(lambda a: a.reshape(number, a.shape[-1]), tree)
    wide, part = side_by_side(function(rows), axes=2)
    return part(jax.tree.map(lambda a: a.reshape(*axes, *a.shape[1:]), wide))


def flat(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Merges the axes of leaves [T, ...] behind time; returns what parts them again.

    What XLA computes from a slice of such an array is one loop. Of one with more axes
    it is a loop in a loop, the inner of which it unrolls, and that takes long to
    compile. Only where axes can be merged; some steps can be parted as well as all.
    """

    def part(merged: Any) -> Any:
        return jax.tree.map(lambda a, b: a.reshape(len(a), *b.shape[1:]), merged, tree)

    if not _mergeable():
        return tree, part
    return jax.tree.map(lambda a: a.reshape(len(a), math.prod(a.shape[1:])), tree), part


def _mergeable() -> bool:
    """Whether no device holds a part of the batch.

    That is so with one device, and inside of `shard_map`. A merged axis cannot be
    divided the way that the batch is.
    """
    kinds = jax.sharding.AxisType
    alone = layouts.meshed(kinds.Manual) or jax.device_count() == 1
    return alone and not layouts.meshed(kinds.Auto, kinds.Explicit)
