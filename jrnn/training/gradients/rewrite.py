"""Changes the cells inside a layer, however deep they are nested."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

from jrnn.layers import Bidirectional, Recurrent
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
    for name, inner in _parts(layer).items():
        changed: Any = change_cells(inner, change) if isinstance(inner, Layer) else None
        if isinstance(inner, tuple):
            changed = tuple(change_cells(part, change) for part in inner)
        object.__setattr__(new, name, changed)  # frozen; `new` is not yet shared
    return new


def require_causal(layer: Any, method: Any) -> None:
    """Raises unless every output of a layer depends only on earlier inputs."""
    reason = None
    if isinstance(layer, Bidirectional):
        reason = "it reads the sequence from both ends"
    elif isinstance(layer, Recurrent) and layer.reverse:
        reason = "it runs from the last step to the first"
    elif isinstance(layer, Recurrent) and not layer.return_sequence:
        reason = "it has one output for a whole sequence"
    if reason is not None:
        raise ValueError(
            f"{method} goes along a sequence piece by piece, which {layer} does not "
            f"allow: {reason}. Use `BPTT()`."
        )
    for part in _parts(layer).values():
        for inner in part if isinstance(part, tuple) else (part,):
            require_causal(inner, method)


def _parts(layer: Any) -> dict[str, Any]:
    """Returns the fields of a layer that hold layers, one or a tuple of them."""
    if not dataclasses.is_dataclass(layer):
        return {}
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    return {
        name: field
        for name, field in fields.items()
        if isinstance(field, Layer)
        or (isinstance(field, tuple) and field and isinstance(field[0], Layer))
    }
