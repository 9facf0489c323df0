"""Stacks of layers and directions of layers, as conversions of weights need them."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from jrnn.layers import (
    Bidirectional,
    BidirectionalState,
    Dropout,
    Recurrent,
    Sequential,
    Stack,
)
from jrnn.types import Cell, Layer, Params, State


def is_stack(layer: Any) -> bool:
    """Whether params and states of a layer are tuples with an entry per inner layer."""
    return isinstance(layer, Sequential | Stack)


def recurrent_layers(layer: Layer, library: str) -> list[Any]:
    """Returns the layers of a stack that have weights, first to last.

    Raises:
      ValueError: if a layer is neither recurrent nor `Dropout`, or if the library has
        no skip connections.
    """
    if getattr(layer, "skip", False) and library != "Haiku":
        raise ValueError(
            f"{library} has no stack with skip connections, got {layer!r}. Convert its "
            "layers one by one."
        )
    layers: Any = getattr(layer, "layers") if is_stack(layer) else (layer,)  # noqa: B009
    kept = [each for each in layers if not isinstance(each, Dropout)]
    for each in kept:
        if not isinstance(each, Recurrent | Bidirectional):
            raise ValueError(
                f"{library} has no recurrent layer for {each!r}: only `Recurrent`, "
                "`Bidirectional` and `Sequential` of these convert. Convert the "
                "recurrent layers of the model, and the other layers by hand."
            )
    return kept


def entries(layer: Any, tree: Any) -> list[Any]:
    """Returns the params or states of `recurrent_layers(layer)`, one per layer."""
    if not is_stack(layer):
        return [tree]
    pairs = zip(layer.layers, tree, strict=True)
    return [entry for each, entry in pairs if not isinstance(each, Dropout)]


def layers_and_entries(layer: Layer, tree: Any, library: str) -> list[tuple[Any, Any]]:
    """Returns each recurrent layer with its params or state."""
    layers = recurrent_layers(layer, library)
    return list(zip(layers, entries(layer, tree), strict=True))


def positions(layer: Any) -> list[int]:
    """Returns the positions of `recurrent_layers(layer)` in a `Sequential`."""
    layers = enumerate(layer.layers)
    return [index for index, each in layers if not isinstance(each, Dropout)]


def assemble(layer: Any, values: Iterable[Any]) -> Any:
    """Builds the params or state of a layer from those of its recurrent layers."""
    values = list(values)
    if not is_stack(layer):
        return values[0]
    rest = iter(values)
    return tuple(
        () if isinstance(each, Dropout) else next(rest) for each in layer.layers
    )


def stacked(layers: list[Any], params: list[Params]) -> tuple[Layer, Params]:
    """Returns one layer for a list of layers, and its parameters."""
    if len(layers) == 1:
        return layers[0], params[0]
    return Sequential(*layers), tuple(params)


def bidirectional(
    forward: Cell,
    backward: Cell,
    *,
    merge: str | None = "concat",
    return_sequence: bool = True,
) -> Bidirectional:
    """Returns the layer that runs one cell forward and one backward in time."""
    other = None if backward == forward else backward
    made = Bidirectional(forward, other, merge)
    return made if return_sequence else last_outputs(made)


def last_outputs(layer: Any) -> Any:
    """Returns the same layer with `return_sequence=False`, in both directions."""
    if not isinstance(layer, Bidirectional):
        return dataclasses.replace(layer, return_sequence=False)
    forward, backward = (
        dataclasses.replace(each, return_sequence=False) for each in sides(layer)
    )
    behind = None if layer.backward is None else backward
    return dataclasses.replace(layer, forward=forward, backward=behind)


def sides(layer: Any) -> list[Recurrent]:
    """Returns the `Recurrent` of each direction, forward first.

    Raises:
      ValueError: if a direction of a `Bidirectional` is another layer.
    """
    if not isinstance(layer, Bidirectional):
        return [layer]
    found = [each for each in layer.layers if isinstance(each, Recurrent)]
    if len(found) < 2:
        raise ValueError(
            f"Each direction must be one cell or one `Recurrent`, got {layer!r}. Other "
            "libraries run a cell in each direction, and not another layer."
        )
    return found


def directions(layer: Any, tree: Any = (None, None)) -> list[tuple[Cell, Any]]:
    """Returns the cell of each direction with its params or state, forward first."""
    entries = tree if isinstance(layer, Bidirectional) else (tree,)
    return [(side.cell, own) for side, own in zip(sides(layer), entries, strict=True)]


def cells_of(layers: list[Any]) -> list[Cell]:
    """Returns the cells of all layers and directions."""
    return [cell for layer in layers for cell, _ in directions(layer)]


def check_sizes(layers: list[Any], params: list[Any]) -> None:
    """Raises unless each layer takes the number of features that the last returns."""
    outputs = None
    for index, (layer, arrays) in enumerate(zip(layers, params, strict=True)):
        for cell, own in directions(layer, arrays):
            inputs = own.w_x.shape[-2]
            if outputs is not None and inputs != outputs:
                raise ValueError(
                    f"Layer {index}, {cell!r}, must take the {outputs} features that "
                    f"layer {index - 1} returns, got weights for {inputs} features. "
                    "Pass the weights of one stack, in its order."
                )
        outputs = layer.output_size


def pair_up(layers: list[Any], states: list[State]) -> list[State]:
    """Groups one state per direction into one state per layer."""
    rest = iter(states)
    return [
        BidirectionalState(next(rest), next(rest))
        if isinstance(layer, Bidirectional)
        else next(rest)
        for layer in layers
    ]
