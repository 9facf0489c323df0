"""Converts the states of layers to and from other libraries."""

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
from jrnn.interop.common import stacks
from jrnn.interop.common.foreign_arrays import to_array
from jrnn.layers import Bidirectional
from jrnn.types import Array, Cell, Layer, State

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
    """Whether the state of a cell is h and c, and not h alone.

    Raises:
      ValueError: if other libraries have no state for the cell.
    """
    if type(cell) not in STATES:
        known = sorted(each.__name__ for each in STATES)
        raise ValueError(
            f"Other libraries have no state for {cell!r}. Use one of {known}, whose "
            "states convert."
        )
    return STATES[type(cell)] is LSTMState


def cell_state(cell: Cell, h: Array, c: Array | None = None) -> State:
    """Returns the state of a cell. It contains `c` only if the cell has a memory."""
    made = STATES[type(cell)]
    return made(h=h, c=c) if has_memory(cell) else made(h=h)


def state_from(layer: Layer, value: Any, library: str, order: tuple[str, str]) -> State:
    """Returns the state of a layer for the state of another library's module.

    Args:
      layer: The layer of the state.
      value: An array for each cell, or a pair of arrays for a cell with a memory; a
        pair of these for both directions, and a list of those for a stack.
      library: Its name, for error messages.
      order: The order of the pair: ("h", "c") or ("c", "h").

    Raises:
      ValueError: if there are too few or too many entries.
    """
    layers = stacks.recurrent_layers(layer, library)
    values = list(value) if stacks.is_stack(layer) else [value]
    checks.count("state", values, len(layers), "one per recurrent layer")
    states = []
    for each, entry in zip(layers, values, strict=True):
        both = list(entry) if isinstance(each, Bidirectional) else [entry]
        for (cell, _), own in zip(stacks.directions(each), both, strict=True):
            names = order if has_memory(cell) else ("h",)
            leaves = own if has_memory(cell) else (own,)
            checks.count("state of a cell", leaves, len(names), " and ".join(names))
            pairs = zip(names, leaves, strict=True)
            arrays = {name: to_array(name, leaf) for name, leaf in pairs}
            states.append(cell_state(cell, **arrays))
    return stacks.assemble(layer, stacks.pair_up(layers, states))


def state_to(layer: Layer, state: State, library: str, order: tuple[str, str]) -> Any:
    """Returns the state of another library's module: the inverse of `state_from`."""
    values = []
    for each, own in stacks.layers_and_entries(layer, state, library):
        both = [
            tuple(getattr(one, name) for name in order) if has_memory(cell) else one.h
            for cell, one in stacks.directions(each, own)
        ]
        values.append(tuple(both) if isinstance(each, Bidirectional) else both[0])
    return values if stacks.is_stack(layer) else values[0]
