"""What all conversions of weights share about layers: stacks, directions, states."""

from collections.abc import Iterable
from typing import Any

from jrnn.cells import (
    GRU,
    LSTM,
    ElmanState,
    GRUState,
    LSTMState,
    ProjectedLSTM,
    ResetBeforeGRU,
)
from jrnn.layers import (
    Bidirectional,
    BidirectionalState,
    Dropout,
    Recurrent,
    Sequential,
)
from jrnn.types import Array, Cell, Layer, Params, State


def recurrent(layer: Layer, library: str) -> list[Any]:
    """Returns the layers of a stack that have weights, first to last.

    Raises:
      ValueError: if there is a layer that is neither recurrent nor `Dropout`.
    """
    layers = layer.layers if isinstance(layer, Sequential) else (layer,)
    kept = [each for each in layers if not isinstance(each, Dropout)]
    for each in kept:
        if not isinstance(each, Recurrent | Bidirectional):
            raise ValueError(
                f"{library} has no recurrent layer for {each!r}: only `Recurrent`, "
                "`Bidirectional` and `Sequential` of these convert. Convert the "
                "recurrent part of the model, and the rest by hand."
            )
    return kept


def entries(layer: Layer, tree: Any) -> list[Any]:
    """Returns the params or states of `recurrent(layer)`, one entry per layer."""
    if not isinstance(layer, Sequential):
        return [tree]
    pairs = zip(layer.layers, tree, strict=True)
    return [entry for each, entry in pairs if not isinstance(each, Dropout)]


def assemble(layer: Layer, parts: Iterable[Any]) -> Any:
    """Builds the params or state of a layer from the entries of `recurrent(layer)`."""
    parts = list(parts)
    if not isinstance(layer, Sequential):
        return parts[0]
    rest = iter(parts)
    return tuple(
        () if isinstance(each, Dropout) else next(rest) for each in layer.layers
    )


def stacked(layers: list[Any], params: list[Params]) -> tuple[Layer, Params]:
    """Returns one layer for a list of them, and its parameters."""
    if len(layers) == 1:
        return layers[0], params[0]
    return Sequential(*layers), tuple(params)


def sides(layer: Any, tree: Any) -> list[tuple[Cell, Any]]:
    """Returns each direction's cell with its params or state, forwards first."""
    if isinstance(layer, Bidirectional):
        return list(zip(layer.directions, tree, strict=True))
    return [(layer.cell, tree)]


def check_sizes(layers: list[Any], params: list[Any]) -> None:
    """Raises unless each layer takes what the one before it returns."""
    outputs = None
    for index, (layer, arrays) in enumerate(zip(layers, params, strict=True)):
        for cell, own in sides(layer, arrays):
            if outputs is not None and own.w_x.shape[0] != outputs:
                raise ValueError(
                    f"Layer {index}, {cell!r}, reads {own.w_x.shape[0]} features, but "
                    f"the layer below returns {outputs}."
                )
        outputs = layer.output_size


def has_memory(cell: Cell) -> bool:
    """Whether the state of a cell is h and c."""
    return isinstance(cell, LSTM | ProjectedLSTM)


def cell_state(cell: Cell, h: Array, c: Array) -> State:
    """Returns the state of a cell; `c` is used only if it has a memory."""
    if has_memory(cell):
        return LSTMState(h=h, c=c)
    return GRUState(h) if isinstance(cell, GRU | ResetBeforeGRU) else ElmanState(h)


def pair_up(parts: list[Any], states: list[State]) -> list[State]:
    """Groups one state per direction into one state per layer."""
    rest = iter(states)
    return [
        BidirectionalState(next(rest), next(rest))
        if isinstance(part, Bidirectional)
        else next(rest)
        for part in parts
    ]
