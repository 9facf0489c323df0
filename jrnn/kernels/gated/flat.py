"""Batch dimensions flattened for a while, where the array is not sharded."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax

from jrnn.cells.affine import join
from jrnn.kernels import base
from jrnn.kernels.base import Inputs
from jrnn.types import Cell, Params

_KINDS = jax.sharding.AxisType


def as_rows(function: Callable[[Any], Any], tree: Any, feature_axes: int) -> Any:
    """Applies a function of vectors to leaves [T, *batch, F], as one matrix [rows, F].

    XLA transposes a copy of the cotangents before it sums over two axes; one axis needs
    no copy. Leaves that are no vectors, and sharded leaves, keep their axes.
    """
    if feature_axes != 1 or not unsharded():
        return function(tree)
    axes = jax.tree.leaves(tree)[0].shape[:-1]
    number = math.prod(axes)
    rows = jax.tree.map(lambda a: a.reshape(number, a.shape[-1]), tree)
    wide, separate = join(function(rows), axes=2)
    return separate(jax.tree.map(lambda a: a.reshape(*axes, *a.shape[1:]), wide))


def project(cell: Cell, params: Params, inputs: Inputs) -> Any:
    """Projects many steps, as rows of one matrix where that is allowed."""
    if inputs.keys is not None:  # masks may have batch axes
        return base.project(cell, params, inputs)
    project_all = functools.partial(cell.project, params)
    return as_rows(project_all, inputs.xs, cell.feature_axes)


def unsharded() -> bool:
    """Whether every array here is whole on one device.

    That is so with one device and no mesh in use, and inside `shard_map`.
    """
    alone = meshed(_KINDS.Manual) or jax.device_count() == 1
    return alone and not meshed(_KINDS.Auto, _KINDS.Explicit)


def meshed(*kinds: jax.sharding.AxisType) -> bool:
    """Whether a mesh with axes of one of these kinds is in use."""
    types = jax.sharding.get_abstract_mesh().axis_types
    return any(kind in kinds for kind in types)
