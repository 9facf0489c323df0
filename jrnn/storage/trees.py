"""Trees restored from named arrays, with checks."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jrnn.storage import named_arrays
from jrnn.storage.formats import FileError, require


def restore(template: Any, arrays: Mapping[str, Any], *, cast: bool = False) -> Any:
    """Returns a tree like `template` whose leaves are the arrays of these names.

    Each leaf gets the type of the leaf of the template: array, number or random key.
    It is placed on the same devices.

    Args:
      template: A tree of arrays, or of shapes as `jax.eval_shape` returns them.
      arrays: One array per leaf, named as by `named_arrays.flatten`.
      cast: Whether to cast arrays of another dtype. Otherwise they are an error.

    Raises:
      FileError: if names are missing or unknown, or if shapes or dtypes differ.

    Example:
      >>> import jax, jrnn, numpy as np
      >>> from jrnn.storage import trees
      >>> params = jrnn.Dense(2).init(jax.random.key(0), input_size=3)
      >>> arrays = {"w": np.ones((3, 2), "float32"), "b": np.zeros(2, "float32")}
      >>> trees.restore(params, arrays).w.shape
      (3, 2)
    """
    try:
        names = named_arrays.unflatten(template, {name: name for name in arrays})
    except ValueError as error:
        raise FileError(str(error)) from None
    return jax.tree.map(
        lambda leaf, name: _restored(name, arrays[name], leaf, cast), template, names
    )


def _restored(name: str, array: np.ndarray, leaf: Any, cast: bool) -> Any:
    """Returns an array with the shape, dtype, type and devices of a leaf."""
    if named_arrays.is_random_key(leaf):
        integers = jax.eval_shape(jax.random.key_data, leaf)
        data = _restored(name, array, integers, cast=False)
        key = jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return place(key, sharding_of(leaf))
    like = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    require(
        array.shape == like.shape,
        f"{name} must have shape {list(like.shape)}, got {list(array.shape)}. Use the "
        "file of the same model.",
    )
    require(
        cast or array.dtype == like.dtype,
        f"{name} must be {like.dtype}, got {array.dtype}. Pass `cast=True` to cast it.",
    )
    array = array.astype(like.dtype)  # a copy, which is writable
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return array if isinstance(leaf, np.ndarray) else type(leaf)(array)
    made = place(array, sharding_of(leaf))
    require(
        made.dtype == like.dtype,
        f"{name} must be {like.dtype}, got {made.dtype} from JAX. Enable it with "
        "`jax.config.update('jax_enable_x64', True)`.",
    )
    return made


def place(array: Any, sharding: Any) -> jax.Array:
    """Returns an array on devices, those of other processes included.

    Args:
      array: The whole array, the same on every process; or a random key.
      sharding: A sharding; None for the default device.
    """
    if isinstance(array, jax.Array) and array.sharding == sharding:
        return array
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    if named_arrays.is_random_key(array):
        data = place(jax.random.key_data(array), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda at: host[at])


def sharding_of(leaf: Any) -> Any:
    """Returns the sharding of an array or a shape; None for the default device."""
    anywhere = isinstance(leaf, jax.Array) and not getattr(leaf, "committed", True)
    return None if anywhere else leaf.sharding
