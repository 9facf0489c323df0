"""What all conversions of weights share about layers: stacks, directions, states."""

from collections.abc import Iterable
from typing import Any

from jrnn import checks
from jrnn.cells import (
    GRU,
    LSTM,
    MGU,
    ConvLSTM,
    Elman,
    ElmanState,
    GRUState,
    LSTMState,
    MGUState,
    PeepholeLSTM,
    ProjectedLSTM,
    ResetBeforeGRU,
)
from jrnn.interop import layouts
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


def positions(layer: Sequential) -> list[int]:
    """Returns where in a `Sequential` the layers of `recurrent(layer)` are."""
    layers = enumerate(layer.layers)
    return [index for index, each in layers if not isinstance(each, Dropout)]


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
            if outputs is not None and own.w_x.shape[-2] != outputs:
                raise ValueError(
                    f"Layer {index}, {cell!r}, reads {own.w_x.shape[-2]} features, but "
                    f"the layer below returns {outputs}."
                )
        outputs = layer.output_size


STATES: dict[type[Any], type[Any]] = {
    Elman: ElmanState,
    LSTM: LSTMState,
    PeepholeLSTM: LSTMState,
    ProjectedLSTM: LSTMState,
    ConvLSTM: LSTMState,
    GRU: GRUState,
    ResetBeforeGRU: GRUState,
    MGU: MGUState,
}


def has_memory(cell: Cell) -> bool:
    """Whether the state of a cell is h and c.

    Raises:
      ValueError: if the cell is none that other libraries have.
    """
    if type(cell) not in STATES:
        raise ValueError(f"The state of {cell!r} has no counterpart elsewhere.")
    return STATES[type(cell)] is LSTMState


def cell_state(cell: Cell, h: Array, c: Array | None = None) -> State:
    """Returns the state of a cell; `c` is used only if it has a memory."""
    made = STATES[type(cell)]
    return made(h=h, c=c) if has_memory(cell) else made(h=h)


def pair_up(parts: list[Any], states: list[State]) -> list[State]:
    """Groups one state per direction into one state per layer."""
    rest = iter(states)
    return [
        BidirectionalState(next(rest), next(rest))
        if isinstance(part, Bidirectional)
        else next(rest)
        for part in parts
    ]


def state_from(layer: Layer, value: Any, library: str, order: tuple[str, str]) -> State:
    """Returns the state of a layer for that of another library's module.

    Args:
      layer: Whose state to build.
      value: An array for each cell, or for those with a memory a pair; a pair of these
        for both directions, and a list of those for a stack.
      library: Its name, for messages.
      order: Of the pair: ("h", "c") or ("c", "h").
    """
    parts = recurrent(layer, library)
    values = list(value) if isinstance(layer, Sequential) else [value]
    checks.count("state", values, len(parts), "one per recurrent layer")
    states = []
    for part, each in zip(parts, values, strict=True):
        both = list(each) if isinstance(part, Bidirectional) else [each]
        for (cell, _), one in zip(sides(part, (None, None)), both, strict=True):
            names = order if has_memory(cell) else ("h",)
            leaves = one if has_memory(cell) else (one,)
            checks.count("state of a cell", leaves, len(names), " and ".join(names))
            arrays = {
                name: layouts.array(name, leaf)
                for name, leaf in zip(names, leaves, strict=True)
            }
            states.append(cell_state(cell, **arrays))
    return assemble(layer, pair_up(parts, states))


def state_to(layer: Layer, state: State, library: str, order: tuple[str, str]) -> Any:
    """Returns the state of a layer as another library has it: undoes `state_from`."""
    values = []
    for part, own in zip(recurrent(layer, library), entries(layer, state), strict=True):
        both = [
            tuple(getattr(one, name) for name in order) if has_memory(cell) else one.h
            for cell, one in sides(part, own)
        ]
        values.append(tuple(both) if isinstance(part, Bidirectional) else both[0])
    return values if isinstance(layer, Sequential) else values[0]
