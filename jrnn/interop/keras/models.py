"""Files of whole Keras models: `.keras`, `.weights.h5` and the older `.h5`."""

import json
from collections.abc import Mapping
from typing import Any

from jrnn.interop.common import stacks
from jrnn.interop.keras import options, pointwise
from jrnn.interop.keras.sources import Source, cell_paths, numbered, snake
from jrnn.interop.keras.weights import from_weights
from jrnn.storage.arrays import errors_name, load_arrays
from jrnn.storage.disk import MAX_BYTES, Path
from jrnn.types import Layer, Params

Config = Mapping[str, Any]
Pair = tuple[Layer, Params]
RECURRENT = {*options.CLASSES, "RNN", "Bidirectional"}
MAX_DEPTH = 32


def from_file(
    path: Path, config: Config | None = None, *, max_bytes: int = MAX_BYTES
) -> Pair:
    """Builds a layer and its parameters from a file of a Keras model.

    It reads what `model.save` and `model.save_weights` of Keras 3 write, and the `.h5`
    files of Keras 2. Keras does not need to be installed, only h5py. A configuration is
    data: its names are looked up in a table, and nothing is imported or run.

    A model is a chain of these layers, `Sequential` or functional: the recurrent layers
    of `from_weights`, Embedding, Dense, LayerNormalization, Activation, Dropout,
    SpatialDropout1D, TimeDistributed around one of these, and chains of them. The
    differences at run time are those of `from_weights`. Masks are arguments in jrnn:
    if the model computes one, there is a warning that asks to pass it.

    Args:
      path: A `.keras` or `.h5` file. A `.weights.h5` file contains no configuration.
      config: `model.get_config()`, or what `model.to_json()` contains, if the file has
        no configuration. A file with the weights of a single recurrent layer that has
        default options needs none.
      max_bytes: The largest size, of the file and of its arrays.

    Returns:
      The layer, a `Sequential` if there are several, and its parameters.

    Raises:
      FileError: if the file is damaged or hostile.
      ValueError: if jrnn has no layer for a part of the model, or if weights are
        missing or left over.

    Example:
      >>> import tempfile, h5py, numpy as np
      >>> from jrnn.interop import keras
      >>> folder = tempfile.TemporaryDirectory()
      >>> path = f"{folder.name}/model.weights.h5"
      >>> with h5py.File(path, "w") as file:  # as `model.save_weights(path)` does
      ...     for i, shape in enumerate([(3, 16), (4, 16), (16,)]):
      ...         file[f"layers/lstm/cell/vars/{i}"] = np.ones(shape, "float32")
      >>> layer, params = keras.from_file(path)
      >>> layer
      Recurrent(cell=LSTM(hidden_size=4))
      >>> folder.cleanup()
    """
    arrays, metadata = load_arrays(path, max_bytes=max_bytes)
    version = metadata.get("keras_version", "3")
    version = metadata.get("keras_version model_weights", version)
    source = Source(arrays, metadata)
    if config is None and "model_config" not in metadata:
        return from_weights(source.one_layer())
    if config is None:
        with errors_name(path):
            config = json.loads(metadata["model_config"])
    if not isinstance(config, Mapping):
        raise ValueError(
            f"config must be a dictionary, got {type(config).__name__}. Pass "
            "`model.get_config()`."
        )
    reader = _Reader(source, keras_2=not version.startswith("3"))
    try:
        pairs = reader.chain(options.with_class(config), "", 0)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"The configuration is not one of a Keras model: {error!r:.200}. Pass "
            "`model.get_config()`."
        ) from error
    source.done()
    if not pairs:
        raise ValueError("The model contains no layer that jrnn supports.")
    layers, params = zip(*pairs, strict=True)
    return stacks.stacked(list(layers), list(params))


class _Reader:
    """Builds the layers of a model.

    Attributes:
      source: The arrays.
      keras_2: Whether Keras 2 wrote the configuration.
    """

    def __init__(self, source: Source, *, keras_2: bool):
        self.source, self.keras_2 = source, keras_2

    def chain(self, config: Config, prefix: str, depth: int) -> list[Pair]:
        """Returns the layers of a `Sequential` or of a functional chain of layers."""
        kind, inner = config["class_name"], config["config"]
        if kind == "Sequential" and "output_layers" in inner:
            kind = "Functional"  # `get_config` does not tell
        if kind not in ("Sequential", "Functional", "Model") or depth > MAX_DEPTH:
            raise ValueError(
                "The model must be Sequential or Functional and at most "
                f"{MAX_DEPTH} deep, got {kind}. Convert its layers one by one, with "
                "`from_weights`."
            )
        if kind != "Sequential":
            _check_line(inner["layers"])
        pairs: list[Pair] = []
        used: dict[str, int] = {}
        for each in inner["layers"]:
            key = numbered(snake(each["class_name"]), used)
            path = f"{prefix}layers/{key}"
            name = each["config"].get("name", "")
            pairs += self.layer(each, path, name, depth)
        return pairs

    def layer(self, config: Config, path: str, name: str, depth: int) -> list[Pair]:
        """Returns the layers of jrnn for one of Keras."""
        kind, inner = config["class_name"], config["config"]
        if kind in ("Sequential", "Functional", "Model"):
            if self.source.legacy:
                raise ValueError(
                    "A model within a model cannot be read from the older .h5 format. "
                    "Save it as .keras."
                )
            return self.chain(config, f"{path}/", depth + 1)
        if kind in RECURRENT:
            return [self.recurrent(config, path, name)]
        if kind == "TimeDistributed":
            wrapped = inner["layer"]
            if wrapped["class_name"] in RECURRENT:
                raise ValueError("TimeDistributed must be around a pointwise layer.")
            return self.layer(wrapped, f"{path}/layer", name, depth)
        if kind not in pointwise.READERS:
            known = sorted(RECURRENT | {*pointwise.READERS})
            raise ValueError(
                f"The layers must be among {known}, got {kind} ({name}). Convert the "
                "others by hand, and these with `from_weights`."
            )
        legacy = self.source.legacy
        arrays = self.source.named(name) if legacy else self.source.numbered(path)
        return pointwise.read(kind, inner, arrays, keras_2=self.keras_2)

    def recurrent(self, config: Config, path: str, name: str) -> Pair:
        """Returns a recurrent layer."""
        inner = config["config"]
        if inner.get("go_backwards") and inner.get("return_sequences"):
            raise ValueError(
                f"{name} has go_backwards, whose outputs Keras reverses and jrnn does "
                "not. Convert the layers one by one, with `from_weights`."
            )
        if self.source.legacy:
            return from_weights(self.source.named(name), config)
        paths = cell_paths(config, path)
        arrays = [array for each in paths for array in self.source.numbered(each)]
        return from_weights(arrays, config)


def _check_line(layers: list[Config]) -> None:
    """Raises unless each layer of a functional model reads the one before it."""
    before = None
    for each in layers:
        name = each["config"].get("name", each.get("name"))
        read = _histories(each.get("inbound_nodes", []))
        if read != ([] if before is None else [before]):
            raise ValueError(
                f"The layers must form a chain, but {name} reads {read} and not only "
                f"{before}. Convert the layers one by one, with `from_weights`."
            )
        before = name


def _histories(nodes: Any, depth: int = 0) -> list[str]:
    """Returns the names of the layers that a node reads, in Keras 3 and Keras 2."""
    if depth > MAX_DEPTH:
        raise ValueError(f"The configuration must be at most {MAX_DEPTH} deep.")
    if isinstance(nodes, Mapping):
        if "keras_history" in nodes:
            return [nodes["keras_history"][0]]
        return [n for each in nodes.values() for n in _histories(each, depth + 1)]
    if isinstance(nodes, list):
        if len(nodes) == 4 and isinstance(nodes[0], str):  # Keras 2
            return [nodes[0]]
        return [n for each in nodes for n in _histories(each, depth + 1)]
    return []
