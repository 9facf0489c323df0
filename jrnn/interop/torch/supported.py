"""Checks that one PyTorch module computes the same as a layer."""

from typing import Any

from jrnn import checks
from jrnn.cells import GRU, LSTM, Elman, ProjectedLSTM, activations
from jrnn.interop.common import stacks
from jrnn.interop.common.activation_names import (
    activation_name,
    check_default_activations,
)
from jrnn.layers import Bidirectional, Recurrent
from jrnn.types import Layer

NONLINEARITIES = {"tanh": activations.tanh, "relu": activations.relu}


def module_layers(layer: Layer) -> list[Any]:
    """Returns the recurrent layers of a layer that one PyTorch module can hold.

    Raises:
      ValueError: if no module computes the same.
    """
    layers = stacks.recurrent_layers(layer, "PyTorch")
    for each in layers:
        if isinstance(each, Bidirectional) and each.merge != "concat":
            raise ValueError(
                f"PyTorch concatenates both directions, got merge={each.merge!r}. "
                "Convert the layer with merge='concat', and merge its outputs yourself."
            )
        if isinstance(each, Recurrent) and each.reverse:
            raise ValueError(
                "PyTorch has no layer that runs only in reverse. Flip the sequence and "
                "convert `Recurrent(cell)`."
            )
    _check_cells(stacks.cells_of(layers))
    if len({type(each) for each in layers}) > 1:
        raise ValueError(
            "A PyTorch module cannot stack one-directional on bidirectional layers. "
            "Convert the layers one by one."
        )
    return layers


def _check_cells(cells: list[Any]) -> None:
    for cell in cells:
        if not isinstance(cell, Elman | LSTM | ProjectedLSTM | GRU):
            raise ValueError(
                f"PyTorch has no module that computes the same as {cell!r}. Use "
                "`Elman`, `LSTM`, `ProjectedLSTM` or `GRU`. PyTorch applies the reset "
                "gate after the recurrent matmul, as `GRU` does and `ResetBeforeGRU` "
                "does not."
            )
        if isinstance(cell, ProjectedLSTM) and not (
            cell.output_features < cell.hidden_size
        ):
            raise ValueError(
                f"PyTorch projects to fewer units only, got {cell!r}. Use a projection "
                "smaller than the hidden size."
            )
        _check_activations(cell)
    if len({_settings(cell) for cell in cells}) > 1:
        raise ValueError(
            "All layers of a PyTorch module have one kind, size and bias, but these "
            f"cells differ: {', '.join(sorted(set(map(repr, cells))))}. Convert the "
            "layers one by one."
        )


def _check_activations(cell: Any) -> None:
    if not isinstance(cell, Elman):
        check_default_activations(cell, "PyTorch")
        return
    name = activation_name(cell.activation, "PyTorch")
    checks.one_of("activation of an Elman cell for PyTorch", name, NONLINEARITIES)


def _settings(cell: Any) -> tuple[Any, ...]:
    """Returns what all cells of one PyTorch module must have in common."""
    name = activation_name(cell.activation, "PyTorch")
    return type(cell), cell.hidden_size, cell.output_size, cell.bias, name
