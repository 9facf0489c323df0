"""The arrays of a Keras file, and the paths that its layers have in it."""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jrnn.interop.common.foreign_arrays import to_array
from jrnn.types import Array

WAYS = ("forward", "backward")


class Source:
    """The arrays of a file, by layer. Each must be read exactly once."""

    def __init__(self, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]):
        skipped = ("optimizer", "top_level_model_weights", "model_weights/top_level")
        self.arrays = {
            name: array
            for name, array in arrays.items()
            if not name.startswith(skipped) and "seed_generator" not in name.split("/")
        }
        root = "model_weights" if "layer_names model_weights" in metadata else ""
        self.root = f"{root}/" if root else ""
        self.legacy = f"layer_names {root}".rstrip() in metadata
        self.metadata = metadata

    def named(self, name: str) -> list[Array]:
        """Returns the arrays of a layer in the older format, which has an order."""
        text = self.metadata.get(f"weight_names {self.root}{name}", "[]")
        keys = [f"{self.root}{name}/{each}" for each in json.loads(text)]
        return [self._take(key) for key in keys]

    def numbered(self, prefix: str) -> list[Array]:
        """Returns `prefix/vars/0`, `prefix/vars/1`, ..."""
        found: list[Array] = []
        while (key := f"{prefix}/vars/{len(found)}") in self.arrays:
            found.append(self._take(key))
        return found

    def _take(self, key: str) -> Array:
        if key not in self.arrays:
            raise ValueError(f"The array {key!r} is missing, or is named twice.")
        return to_array(key, self.arrays.pop(key))

    def one_layer(self) -> list[Array]:
        """Returns the arrays of a single recurrent layer.

        Raises:
          ValueError: if there are several layers. Their names do not determine their
            order.
        """
        names = {"/".join(key.split("/")[:2]) for key in self.arrays}
        if self.legacy or len(names) != 1:
            raise ValueError(
                f"The file has no configuration, and the names {sorted(names)[:8]} do "
                "not determine the order and the options of its layers. Pass "
                "`config=model.get_config()`."
            )
        (name,) = names
        paths = [f"{name}/cell", *(f"{name}/{way}_layer/cell" for way in WAYS)]
        arrays = [array for path in paths for array in self.numbered(path)]
        self.done()
        return arrays

    def done(self) -> None:
        """Raises if an array has not been read."""
        if self.arrays:
            raise ValueError(
                f"The weights {sorted(self.arrays)[:8]} belong to no layer of the "
                "configuration. Pass the configuration of this model."
            )


def cell_paths(config: Mapping[str, Any], path: str) -> list[str]:
    """Returns the path of each cell of a recurrent layer, forward first."""
    inner = config["config"]
    if config["class_name"] == "Bidirectional":
        return [
            each
            for way in WAYS
            for each in cell_paths(inner["layer"], f"{path}/{way}_layer")
        ]
    cell = inner.get("cell", {})
    if cell.get("class_name") != "StackedRNNCells":
        return [f"{path}/cell"]
    used: dict[str, int] = {}
    return [
        f"{path}/cell/cells/{numbered(snake(each['class_name']), used)}"
        for each in cell["config"]["cells"]
    ]


def snake(name: str) -> str:
    """Returns how Keras spells a class in a path: `LSTMCell` as `lstm_cell`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def numbered(name: str, used: dict[str, int]) -> str:
    """Returns a name that is not used yet: dense, dense_1, dense_2."""
    count = used.get(name, -1) + 1
    used[name] = count
    return f"{name}_{count}" if count else name
