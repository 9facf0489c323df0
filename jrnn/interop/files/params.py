"""Files of parameters and a configuration, for programs that know the layer."""

import json
from collections.abc import Mapping
from typing import Any

from jrnn.storage import named_arrays
from jrnn.storage.arrays import errors_name, load_arrays, save_arrays
from jrnn.storage.disk import MAX_BYTES, Path
from jrnn.storage.trees import restore
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

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> folder = tempfile.TemporaryDirectory()
      >>> save(f"{folder.name}/w.npz", {"w": jnp.ones(3)}, {"size": 3})
      >>> params, config = load(f"{folder.name}/w.npz", {"w": jnp.zeros(3)})
      >>> params["w"].tolist(), config
      ([1.0, 1.0, 1.0], {'size': 3})
      >>> folder.cleanup()
    """
    arrays, metadata = load_arrays(path, signed=True, max_bytes=max_bytes)
    with errors_name(path):
        config = json.loads(metadata.get(_CONFIG, "{}"))
        return restore(template, arrays, cast=cast), config
