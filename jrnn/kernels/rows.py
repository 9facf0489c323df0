"""Axes that are merged for a while, where no device holds a part of them."""

import math
from collections.abc import Callable
from typing import Any

import jax

from jrnn.cells.affine import side_by_side
from jrnn.kernels import layouts


def apply(function: Callable[[Any], Any], tree: Any) -> Any:
    """Applies a function of vectors to leaves [T, *batch, F], as one matrix [rows, F].

    Where axes cannot be merged, it is applied to the leaves as they are.
    """
    if not _mergeable():
        return function(tree)
    axes = jax.tree.leaves(tree)[0].shape[:-1]
    number = math.prod(axes)
    rows = jax.tree.map(lambda a: a.reshape(number, a.shape[-1]), tree)
    wide, part = side_by_side(function(rows), axes=2)
    return part(jax.tree.map(lambda a: a.reshape(*axes, *a.shape[1:]), wide))


def merge(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Merges all axes of leaves [T, ...] but T; returns what parts them, for any T.

    On CPU, what XLA computes from a slice of such an array is one loop. Of one with
    more axes it is a loop in a loop, the inner of which it unrolls: where those are the
    gates of an LSTM, a training step takes 4 % longer to compile. Elsewhere, or where
    axes cannot be merged, leaves stay as they are.
    """
    if jax.default_backend() != "cpu" or not _mergeable():
        return tree, lambda tree: tree
    kinds = jax.tree.map(jax.typeof, tree)

    def part(merged: Any) -> Any:
        return jax.tree.map(lambda a, b: a.reshape(len(a), *b.shape[1:]), merged, kinds)

    return jax.tree.map(lambda a: a.reshape(len(a), math.prod(a.shape[1:])), tree), part


def _mergeable() -> bool:
    """Whether no device holds a part of an array, as any axis may be divided.

    That is so with one device and no mesh in use, and inside of `shard_map`.
    """
    kinds = jax.sharding.AxisType
    alone = layouts.meshed(kinds.Manual) or jax.device_count() == 1
    return alone and not layouts.meshed(kinds.Auto, kinds.Explicit)
