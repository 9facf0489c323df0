"""Changes the cells inside a layer, however deep they are nested."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

from jrnn.layers import Recurrent, over_time
from jrnn.types import Cell, Layer


def as_layer(model: Cell | Layer) -> Layer:
    """Returns a layer as it is, and a cell as the layer that runs it."""
    return model if isinstance(model, Layer) else Recurrent(model)


def change_cells(layer: Any, change: Callable[[Cell], Cell]) -> Any:
    """Returns a layer like this one with every recurrent cell changed.

    Parameters keep their structure as long as those of the changed cell do.
    """
    if isinstance(layer, Recurrent):
        return dataclasses.replace(layer, cell=change(layer.cell))
    new = copy.copy(layer)
    for name, inner in over_time.fields_with_layers(layer).items():
        changed: Any = change_cells(inner, change) if isinstance(inner, Layer) else None
        if isinstance(inner, tuple):
            changed = tuple(change_cells(part, change) for part in inner)
        object.__setattr__(new, name, changed)  # frozen; `new` is not yet shared
    return new


def require_causal(layer: Layer, method: Any) -> None:
    """Raises unless every output of a layer depends only on earlier inputs."""
    who = f"{method} goes along a sequence piece by piece"
    over_time.require_causal(layer, who, "Use `BPTT()`.")
