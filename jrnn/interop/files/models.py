"""Files of a layer and its parameters.

The layer is described by plain data. It contains only names of cells, layers, kernels
and activations of jrnn: no module, no import path and no code.
"""

import dataclasses
import json
import numbers
import types
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import cells, initializers, kernels, layers
from jrnn.cells import activations
from jrnn.interop.common.modules import param_shapes
from jrnn.storage import named_arrays
from jrnn.storage.arrays import errors_name, load_arrays, save_arrays
from jrnn.storage.disk import MAX_BYTES, Path
from jrnn.storage.formats import FileError, require
from jrnn.storage.trees import restore
from jrnn.types import Layer, Params

CLASSES: dict[str, Any] = {
    name: each
    for room in (cells, layers, kernels, activations)
    for name, each in vars(room).items()
    if isinstance(each, type) and dataclasses.is_dataclass(each)
}
CLASSES["Layout"] = kernels.Layout  # an option of a kernel
CLASSES["Chrono"] = initializers.Chrono  # how forget biases are drawn
FUNCTIONS: dict[str, Any] = {
    name: each
    for name, each in vars(activations).items()
    if isinstance(each, types.FunctionType) and each.__module__ == activations.__name__
}
FUNCTIONS["uniform_gate"] = initializers.uniform_gate
MAX_DEPTH = 32
_MODEL = "jrnn.model"


def save_model(path: Path, layer: Layer, params: Params, input_size: int) -> None:
    """Writes a layer and its parameters to one file, which `load_model` reads.

    Args:
      path: The file to write, `.safetensors` or `.npz`.
      layer: A layer that consists of layers, cells, kernels and activations of jrnn.
      params: Its parameters.
      input_size: The number of input features of `layer.init`; 0 if the first layer is
        an `Embed`, which does not use it.

    Raises:
      FileError: if the layer contains anything else, or if the parameters do not fit
        it.

    Example:
      >>> import tempfile, jax, jrnn
      >>> from jrnn.interop import files
      >>> folder = tempfile.TemporaryDirectory()
      >>> path = f"{folder.name}/model.safetensors"
      >>> layer = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(4)), jrnn.Dense(2))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> files.save_model(path, layer, params, input_size=3)
      >>> again, weights = files.load_model(path)
      >>> again == layer, bool((weights[1].w == params[1].w).all())
      (True, True)
      >>> folder.cleanup()
    """
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(params)}
    require(
        len(dtypes) == 1,
        f"params must have one dtype, got {sorted(dtypes)}. Cast them to one.",
    )
    dtype = dtypes.pop()
    described = {"layer": to_config(layer), "input_size": input_size, "dtype": dtype}
    arrays = named_arrays.flatten(params)
    restore(_template(layer, input_size, dtype), arrays)
    save_arrays(path, arrays, {_MODEL: json.dumps(described)})


def load_model(path: Path, *, max_bytes: int = MAX_BYTES) -> tuple[Layer, Params]:
    """Reads a file of `save_model`.

    Returns:
      The layer and its parameters.

    Raises:
      FileError: if the file is damaged, if `save_model` did not write it, or if it
        describes something that this version of jrnn does not have.

    Example:
      >>> import tempfile, jax, jrnn
      >>> folder = tempfile.TemporaryDirectory()
      >>> model, path = jrnn.Dense(4), f"{folder.name}/model.safetensors"
      >>> params = model.init(jax.random.key(0), input_size=3)
      >>> save_model(path, model, params, input_size=3)
      >>> layer, again = load_model(path)
      >>> layer, bool((again.w == params.w).all())
      (Dense(features=4), True)
      >>> folder.cleanup()
    """
    arrays, metadata = load_arrays(path, signed=True, max_bytes=max_bytes)
    require(
        _MODEL in metadata,
        f"{path}: it must describe a model, as files of `save_model` do. Read it with "
        "`files.load` or `files.load_arrays`.",
    )
    with errors_name(path):
        described = json.loads(metadata[_MODEL])
        layer = from_config(described["layer"])
        template = _template(layer, described["input_size"], described["dtype"])
        return layer, restore(template, arrays)


def to_config(value: Any) -> Any:
    """Returns a layer and what it consists of as dictionaries, lists and plain values.

    Fields with their default value are omitted.

    Raises:
      FileError: if it contains anything that is not part of jrnn.

    Example:
      >>> import jrnn
      >>> from jrnn.interop import files
      >>> files.to_config(jrnn.Recurrent(jrnn.GRU(4, gate=jrnn.activations.relu)))
      {'kind': 'Recurrent', 'cell': {'kind': 'GRU', 'hidden_size': 4,
      'gate': {'function': 'relu'}}}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, numbers.Real):  # numpy's numbers too
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    if type(value) in (list, tuple):
        return [to_config(each) for each in value]
    name = getattr(value, "__name__", type(value).__name__)
    if FUNCTIONS.get(name) is value:
        return {"function": name}
    require(
        CLASSES.get(name) is type(value),
        f"{value!r} is not part of jrnn, so a file cannot describe it. Use cells, "
        "layers, kernels and activations of jrnn, and dtypes by their names.",
    )
    shown = {
        field: to_config(getattr(value, field))
        for field, default in _fields(type(value)).items()
        if getattr(value, field) != default
    }
    return {"kind": name, **shown}


def from_config(config: Any, depth: int = 0) -> Any:
    """Builds a layer, with all its parts, from the result of `to_config`.

    Raises:
      FileError: if a name is unknown, if a value is not plain data, or if a class
        refuses its options.

    Example:
      >>> from jrnn.interop import files
      >>> files.from_config({"kind": "LSTM", "hidden_size": 4, "bias": False})
      LSTM(hidden_size=4, bias=False)
    """
    require(depth <= MAX_DEPTH, f"the description must be at most {MAX_DEPTH} deep.")
    if isinstance(config, list):
        return tuple(from_config(each, depth + 1) for each in config)
    if config is None or isinstance(config, bool | int | float | str):
        return config
    require(
        isinstance(config, dict), f"the description must be plain data, got {config!r}."
    )
    if set(config) == {"function"}:
        return _known("function", config["function"], FUNCTIONS)
    kind = config.get("kind")
    made = _known("kind", kind, CLASSES)
    fields = _fields(made)
    unknown = sorted(set(config) - set(fields) - {"kind"})
    require(
        not unknown, f"the fields of {kind} must be {sorted(fields)}, got {unknown}."
    )
    values = {
        name: from_config(each, depth + 1)
        for name, each in config.items()
        if name != "kind"
    }
    rest = {name: each for name, each in values.items() if name != "layers"}
    try:  # classes with a field `layers` take these by position
        return made(*values.get("layers", ()), **rest)
    except Exception as error:
        raise FileError(f"{kind} cannot have the options {values}: {error}") from error


def _fields(kind: Any) -> dict[str, Any]:
    """Returns the fields of a class and their defaults."""
    if dataclasses.is_dataclass(kind):
        return {field.name: field.default for field in dataclasses.fields(kind)}
    return {name: kind._field_defaults.get(name, ...) for name in kind._fields}


def _known(what: str, name: Any, table: dict[str, Any]) -> Any:
    known = isinstance(name, str) and name in table
    require(known, f"the {what} must be one of {sorted(table)}, got {name!r}.")
    return table[name]


def _template(layer: Any, input_size: int, dtype: str) -> Any:
    """Returns the shapes of the layer's parameters."""
    return param_shapes(layer, input_size, jnp.dtype(dtype))
