"""Between trees and named arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.interop.formats import require


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Returns the leaves of a tree by name, as in `layers.0.w_x`.

    Fields of NamedTuples, keys of dictionaries and positions are joined by dots. Random
    keys become their numbers.

    Example:
      >>> import jax, jrnn
      >>> cell = jrnn.LSTM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> arrays = flatten({"cell": params})
      >>> sorted(arrays)
      ['cell.b_x', 'cell.w_h', 'cell.w_x']
      >>> tree = unflatten({"cell": params}, arrays)
      >>> bool((tree["cell"].w_x == params.w_x).all())
      True
    """
    named = [(name, np.asarray(_data(leaf))) for name, leaf in _named(tree)]
    arrays = dict(named)
    require(len(arrays) == len(named), "two leaves of the tree have one name.")
    return arrays


def unflatten(
    template: Any, arrays: Mapping[str, np.ndarray], *, cast: bool = False
) -> Any:
    """Returns a tree like `template` with the arrays of these names in its leaves.

    Args:
      template: A tree of arrays, or of what `jax.eval_shape` returns; arrays that are
        placed on devices lend their place.
      arrays: One array for each leaf, and no other.
      cast: Whether to convert arrays of another dtype; otherwise they are an error.

    Raises:
      FileError: if a leaf has no array, an array no leaf, or shapes or dtypes differ.
    """
    named = _named(template)
    names = [name for name, _ in named]
    missing = [name for name in names if name not in arrays]
    left_over = sorted(set(arrays) - set(names))
    require(
        not missing and not left_over,
        f"the arrays do not fit the tree: missing {missing[:8]}, left over "
        f"{left_over[:8]}. Was it written by another model?",
    )
    leaves = [_fit(name, arrays[name], leaf, cast) for name, leaf in named]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _named(tree: Any) -> list[tuple[str, Any]]:
    return [
        (jax.tree_util.keystr(path, simple=True, separator="."), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _is_key(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _fit(name: str, array: np.ndarray, leaf: Any, cast: bool) -> Any:
    """Returns an array as a leaf like another: its shape, dtype, kind and place."""
    if _is_key(leaf):
        numbers = jax.eval_shape(jax.random.key_data, leaf)
        kind = jax.random.key_impl(leaf)
        data = _fit(name, array, numbers, cast=False)
        return jax.random.wrap_key_data(data, impl=kind)
    like = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    require(
        array.shape == like.shape,
        f"{name} must have shape {list(like.shape)}, got {list(array.shape)}.",
    )
    require(
        cast or array.dtype == like.dtype,
        f"{name} must be {like.dtype}, got {array.dtype}. Pass `cast=True` to convert.",
    )
    array = array.astype(like.dtype)  # a copy of its own, which can be written to
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return array if isinstance(leaf, np.ndarray) else type(leaf)(array)
    placed = isinstance(leaf, jax.Array) and not getattr(leaf, "committed", True)
    made = jax.device_put(array, None if placed else leaf.sharding)
    require(
        made.dtype == like.dtype, f"{name} is {like.dtype}: enable `jax_enable_x64`."
    )
    return made
