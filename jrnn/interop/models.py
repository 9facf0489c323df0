"""Model files: a layer, described in words of jrnn, and its parameters.

    save_model, load_model       one file that says what it holds
    to_config, from_config       a layer as plain data for JSON, and back

A description is data. It names cells, layers and activations that jrnn has, and nothing
else: no module, no import path, no code.
"""

import dataclasses
import json
import types
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import cells, layers
from jrnn.cells import activations
from jrnn.interop import files
from jrnn.interop.disk import MAX_BYTES, Path
from jrnn.interop.formats import require
from jrnn.layers import Sequential
from jrnn.types import Layer, Params

KINDS: dict[str, Any] = {
    name: each
    for room in (cells, layers, activations)
    for name, each in vars(room).items()
    if isinstance(each, type) and dataclasses.is_dataclass(each)
}
FUNCTIONS: dict[str, Any] = {
    name: each
    for name, each in vars(activations).items()
    if isinstance(each, types.FunctionType) and each.__module__ == activations.__name__
}
MAX_DEPTH = 32
_MODEL = "jrnn.model"


def save_model(path: Path, layer: Layer, params: Params, input_size: int) -> None:
    """Writes a layer and its parameters to one file that `load_model` reads alone.

    Args:
      path: Where to write, `.safetensors` or `.npz`.
      layer: A layer made of what jrnn has.
      params: Its parameters.
      input_size: The number of input features that they were drawn for; 0 where the
        first layer has no use for it: `Embed`.

    Raises:
      FileError: if the layer holds anything foreign, or does not fit the parameters.

    Example:
      >>> import tempfile, jax, jrnn
      >>> from jrnn.interop import models
      >>> folder = tempfile.TemporaryDirectory()
      >>> path = f"{folder.name}/model.safetensors"
      >>> layer = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(4)), jrnn.Dense(2))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> models.save_model(path, layer, params, input_size=3)
      >>> again, weights = models.load_model(path)
      >>> again == layer, bool((weights[1].w == params[1].w).all())
      (True, True)
      >>> folder.cleanup()
    """
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(params)}
    require(len(dtypes) == 1, f"params must be of one dtype, got {dtypes or 'none'}.")
    dtype = dtypes.pop()
    described = {"layer": to_config(layer), "input_size": input_size, "dtype": dtype}
    arrays = files.flatten(params)
    files.unflatten(_template(layer, input_size, dtype), arrays)
    files.save_arrays(path, arrays, {_MODEL: json.dumps(described)})


def load_model(path: Path, *, max_bytes: int = MAX_BYTES) -> tuple[Layer, Params]:
    """Reads what `save_model` wrote.

    Returns:
      The layer and its parameters.

    Raises:
      FileError: if the file is damaged, was not written by `save_model`, or describes
        what this version of jrnn does not have.
    """
    arrays, metadata = files.load_arrays(path, signed=True, max_bytes=max_bytes)
    require(_MODEL in metadata, f"{path}: it describes no model; see `files.load`.")
    with files.blame(path):
        described = json.loads(metadata[_MODEL])
        layer = from_config(described["layer"])
        template = _template(layer, described["input_size"], described["dtype"])
        return layer, files.unflatten(template, arrays)


def to_config(value: Any) -> Any:
    """Returns a layer, a cell or an activation as dictionaries, lists and plain values.

    Fields at their default are left out.

    Raises:
      FileError: if it holds anything that jrnn does not have.

    Example:
      >>> import jrnn
      >>> from jrnn.interop import models
      >>> models.to_config(jrnn.Recurrent(jrnn.GRU(4, gate=jrnn.activations.relu)))
      {'kind': 'Recurrent', 'cell': {'kind': 'GRU', 'hidden_size': 4,
      'gate': {'function': 'relu'}}}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [to_config(each) for each in value]
    name = getattr(value, "__name__", type(value).__name__)
    if FUNCTIONS.get(name) is value:
        return {"function": name}
    require(
        KINDS.get(name) is type(value),
        f"{value!r} is nothing that jrnn has, so it cannot be described in a file.",
    )
    shown = {
        field.name: to_config(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    }
    return {"kind": name, **shown}


def from_config(config: Any, depth: int = 0) -> Any:
    """Builds what `to_config` described.

    Raises:
      FileError: if a name is unknown, or a value is of no kind that fields have.

    Example:
      >>> from jrnn.interop import models
      >>> models.from_config({"kind": "LSTM", "hidden_size": 4, "bias": "double"})
      LSTM(hidden_size=4, bias='double')
    """
    require(depth <= MAX_DEPTH, f"the description is more than {MAX_DEPTH} deep.")
    if isinstance(config, list):
        return tuple(from_config(each, depth + 1) for each in config)
    if config is None or isinstance(config, bool | int | float | str):
        return config
    require(isinstance(config, dict), f"{config!r} is no description.")
    if set(config) == {"function"}:
        return _known("function", config["function"], FUNCTIONS)
    kind = config.get("kind")
    made = _known("kind", kind, KINDS)
    fields = {field.name for field in dataclasses.fields(made)}
    unknown = sorted(set(config) - fields - {"kind"})
    require(not unknown, f"{kind} has no fields {unknown}; it has {sorted(fields)}.")
    values = {
        name: from_config(each, depth + 1)
        for name, each in config.items()
        if name != "kind"
    }
    return made(*values.get("layers", ())) if made is Sequential else made(**values)


def _known(what: str, name: Any, table: dict[str, Any]) -> Any:
    known = isinstance(name, str) and name in table
    require(known, f"there is no {what} {name!r}; known are {sorted(table)}.")
    return table[name]


def _template(layer: Any, input_size: int, dtype: str) -> Any:
    """Returns the shapes of the layer's parameters; nothing is drawn."""

    def draw() -> Any:
        return layer.init(jax.random.key(0), input_size, jnp.dtype(dtype))

    return jax.eval_shape(draw)
