"""Helpers for jrnn's modules for other libraries, and for their modules in jrnn."""

import functools
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import masks
from jrnn.types import Array, DType


def param_shapes(maker: Any, input_size: int, dtype: DType) -> Any:
    """Returns shapes and dtypes of the parameters of a cell or layer; draws nothing."""
    wide = jax.config.read("jax_enable_x64")  # the meaning of a dtype depends on it
    return _param_shapes(maker, input_size, dtype, wide)


@functools.lru_cache(maxsize=256)
def _param_shapes(maker: Any, input_size: int, dtype: DType, wide: bool) -> Any:
    del wide
    return jax.eval_shape(lambda: maker.init(jax.random.key(0), input_size, dtype))


def input_size(xs: Any) -> int:
    """Returns the number of features of inputs [..., features]; 0 for integer ids."""
    first = jax.tree.leaves(xs)[0]
    return first.shape[-1] if jnp.issubdtype(first.dtype, jnp.inexact) else 0


def call_module(module: Any, xs: Array, *, mask: Array | None, train: bool) -> Array:
    """Calls a module on its input only: `module(xs)`."""
    del mask, train
    return module(xs)


def example_input(input_size: int, dtype: DType) -> Array:
    """Returns the smallest input: one step of features, or one id for size 0."""
    if input_size == 0:
        return jnp.zeros((1, 1), int)
    return jnp.zeros((1, 1, input_size), dtype)


def apply_with_padding(
    call: Callable[[Array, Array | None], Array],
    xs: Array,
    lengths: Array | None,
    mask: Array | None,
    size: int | None,
) -> Array:
    """Calls a function of (inputs, mask) on sequences that may have padding.

    Padded inputs are zero for the call, and padded outputs are zero after it. So a NaN
    in the padding reaches neither values nor gradients.

    Args:
      call: The function.
      xs: Inputs [*batch, time, features], or ids [*batch, time].
      lengths: Integers [*batch], or None.
      mask: Booleans [*batch, time], or None.
      size: The number of output features that the layer declares; None for that of the
        input.

    Raises:
      ValueError: if the output has another number of features.
    """
    keep = _valid(xs, lengths, mask)
    if keep is not None:
        xs = masks.where(keep, xs, jnp.zeros_like(xs))
    ys = call(xs, keep)
    expected = xs.shape[-1] if size is None else size
    if ys.shape[-1] != expected:
        raise ValueError(
            f"The module must return {expected} features, as the layer declares, got "
            f"{ys.shape[-1]}. Declare them with `output_size={ys.shape[-1]}`."
        )
    return ys if keep is None else masks.where(keep, ys, jnp.zeros_like(ys))


def check_only_params(kinds: Collection[str], params: str) -> None:
    """Raises if a module has variables that are not parameters.

    Args:
      kinds: The kinds of variables that it has.
      params: The kind of parameters.
    """
    others = sorted(set(kinds) - {params})
    if others:
        raise ValueError(
            f"The module must have parameters only, got {others} besides its "
            "parameters. A layer of jrnn is a pure function of parameters and state, "
            "so nothing would update them. Use a module without them, for example "
            "LayerNorm or GroupNorm instead of BatchNorm."
        )


def cast_floating(tree: Any, dtype: DType) -> Any:
    """Casts the floating-point leaves of a tree."""

    def cast(leaf: Array) -> Array:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(cast, tree)


def _valid(xs: Array, lengths: Array | None, mask: Array | None) -> Array | None:
    """Returns which steps are valid, [*batch, time]; None if all are."""
    lengths, mask = masks.as_lengths(lengths), masks.as_flags(mask)
    flags = lengths if mask is None else mask[..., 0]
    if flags is None:
        return None
    axis = flags.ndim
    return masks.valid_steps(lengths, mask, xs.shape[:axis], xs.shape[axis])
