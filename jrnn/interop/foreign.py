"""What modules of other libraries share when they stand in for a jrnn layer."""

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks, masks
from jrnn.types import Array, DType


def plain_call(module: Any, xs: Array, *, mask: Array | None, train: bool) -> Array:
    """Calls a module on its input alone: `module(xs)`."""
    del mask, train
    return module(xs)


def example(input_size: int, dtype: DType) -> Array:
    """Returns the smallest input: one step of features, or one id for size 0."""
    if input_size == 0:
        return jnp.zeros((1, 1), int)
    return jnp.zeros((1, 1, input_size), dtype)


def run(
    call: Callable[[Array, Array | None], Array],
    xs: Array,
    lengths: Array | None,
    mask: Array | None,
    size: int | None,
) -> Array:
    """Calls a function of (inputs, mask) with inert padding, and checks its output.

    Padded inputs are replaced by zero before the call and padded outputs after it, so
    that a NaN in the padding reaches neither values nor gradients.

    Args:
      call: What to run.
      xs: Inputs [*batch, time, features], or ids [*batch, time].
      lengths: Integers [*batch], or None.
      mask: Booleans [*batch, time], or None.
      size: The number of output features that the layer declares; None for that of the
        input.

    Raises:
      ValueError: if the output is not what the layer declares.
    """
    keep = _valid(xs, lengths, mask)
    if keep is not None:
        xs = masks.where(keep, xs, jnp.zeros_like(xs))
    ys = call(xs, keep)
    expected = xs.shape[-1] if size is None else size
    if ys.shape[-1] != expected:
        raise ValueError(
            f"The module returns {ys.shape[-1]} features where {expected} are "
            f"declared. Say so with `output_size={ys.shape[-1]}`."
        )
    return ys if keep is None else masks.where(keep, ys, jnp.zeros_like(ys))


def only_params(kinds: Collection[str], kept: str) -> None:
    """Raises if a module has variables that are not parameters."""
    others = sorted(set(kinds) - {kept})
    if others:
        raise ValueError(
            f"The module keeps {others} besides its parameters. A layer of jrnn is a "
            "pure function of parameters and state, so nobody would update them. Use a "
            "module without, for example LayerNorm or GroupNorm in place of BatchNorm."
        )


def cast(params: Any, dtype: DType) -> Any:
    """Gives the floating leaves of a tree a dtype."""

    def one(leaf: Array) -> Array:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(one, params)


def _valid(xs: Array, lengths: Array | None, mask: Array | None) -> Array | None:
    """Returns which steps are valid, [*batch, time]; None for all of them."""
    flags = lengths if mask is None else mask[..., 0]
    if flags is None:
        return None
    axis = flags.ndim
    batch, time = xs.shape[:axis], xs.shape[axis]
    checks.lengths(lengths, batch, time)
    checks.flags("mask", mask, batch, time, major=False)
    first = None if mask is None else jnp.moveaxis(mask, -1, 0)
    keep = masks.valid(lengths, first, time)
    return None if keep is None else jnp.moveaxis(keep, 0, -1)
