"""Files of parameters and a configuration, for programs that know the layer."""

import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jrnn.interop import named_arrays
from jrnn.interop.files.arrays import errors_name, load_arrays, save_arrays
from jrnn.interop.files.disk import MAX_BYTES, Path
from jrnn.interop.files.formats import FileError, require
from jrnn.types import Params

_CONFIG = "jrnn.config"


def save(path: Path, params: Params, config: Mapping[str, Any] | None = None) -> None:
    """Writes parameters, and a configuration of plain values, to one file.

    Args:
      path: The file to write, `.safetensors` or `.npz`.
      params: A tree of arrays.
      config: What is needed to build the model again; anything that JSON can hold.

    Example:
      >>> import tempfile, jax, jrnn
      >>> folder = tempfile.TemporaryDirectory()
      >>> path = f"{folder.name}/model.safetensors"
      >>> cell = jrnn.GRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> save(path, params, {"hidden_size": 4})
      >>> again, config = load(path, params)
      >>> config, bool((again.w_h == params.w_h).all())
      ({'hidden_size': 4}, True)
      >>> folder.cleanup()
    """
    text = json.dumps(dict(config or {}), sort_keys=True, allow_nan=False)
    save_arrays(path, named_arrays.flatten(params), {_CONFIG: text})


def load(
    path: Path, template: Params, *, cast: bool = False, max_bytes: int = MAX_BYTES
) -> tuple[Params, dict[str, Any]]:
    """Reads a file of `save` into a tree like `template`.

    Args:
      path: The file to read.
      template: A tree of arrays, or of shapes: `jax.eval_shape(model.init, ...)`.
      cast: Whether to cast to the dtypes of the template, if they differ.
      max_bytes: The largest size, of the file and of its arrays.

    Returns:
      The parameters and the configuration.

    Raises:
      FileError: if the file is damaged, if jrnn did not write it, or if it does not fit
        the template.
    """
    arrays, metadata = load_arrays(path, signed=True, max_bytes=max_bytes)
    with errors_name(path):
        config = json.loads(metadata.get(_CONFIG, "{}"))
        return restore(template, arrays, cast=cast), config


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
      >>> from jrnn.interop import files
      >>> params = jrnn.Dense(2).init(jax.random.key(0), input_size=3)
      >>> arrays = {"w": np.ones((3, 2), "float32"), "b": np.zeros(2, "float32")}
      >>> files.restore(params, arrays).w.shape
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
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
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
    anywhere = isinstance(leaf, jax.Array) and not getattr(leaf, "committed", True)
    made = jax.device_put(array, None if anywhere else leaf.sharding)
    require(
        made.dtype == like.dtype,
        f"{name} must be {like.dtype}, got {made.dtype} from JAX. Enable it with "
        "`jax.config.update('jax_enable_x64', True)`.",
    )
    return made
