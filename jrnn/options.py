"""Checks of the options of a cell or a layer, when it is made."""

import dataclasses
import numbers
from typing import Any

from jrnn import checks
from jrnn.types import Cell, Layer


def check(node: Any) -> None:
    """Raises unless the fields of a dataclass hold what their annotations promise.

    Integers count something and start from one; switches are booleans; cells are cells
    and layers are layers. A cell with two biases has a bias.

    Raises:
      TypeError: if a field holds another type.
      ValueError: if an integer is below one, or if options contradict each other.
    """
    kind = type(node).__name__
    for field in dataclasses.fields(node):
        rule = _RULES.get(field.type)
        if rule is not None:
            rule(f"{kind}.{field.name}", getattr(node, field.name))
    if getattr(node, "separate_biases", False) and not node.bias:
        raise ValueError(
            f"{kind} has separate_biases=True, which needs a bias, and bias=False. "
            "Leave one of the two out."
        )


def is_cell(name: str, value: Any) -> None:
    """Raises unless `value` is a cell: an instance of a subclass of `jrnn.Cell`."""
    if isinstance(value, Cell):
        return
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a cell, got the class {value.__name__}. Make an instance, "
            f"such as `{value.__name__}(hidden_size=4)`."
        )
    if hasattr(value, "apply"):
        raise TypeError(
            f"{name} must be a cell, got the layer {value!r}. A layer runs by its own "
            "`apply`, and `jrnn.Recurrent(cell)` makes a layer of a cell."
        )
    missing = sorted(n for n in Cell.__abstractmethods__ if not hasattr(value, n))
    raise TypeError(
        f"{name} must be an instance of a subclass of `jrnn.Cell`, got {value!r}"
        + (f", which does not define {', '.join(missing)}." if missing else ".")
        + " `jrnn.cells.HiddenCell` has defaults for cells on vectors."
    )


def is_layer(name: str, value: Any) -> None:
    """Raises unless `value` is a layer."""
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a layer, got the class {value.__name__}. Make an instance."
        )
    if isinstance(value, Cell) or not isinstance(value, Layer):
        raise TypeError(
            f"{name} must be a layer, got {value!r}. Wrap a cell in `jrnn.Recurrent`."
        )


def _is_count(name: str, value: Any) -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    checks.at_least(name, int(value), 1)


def _is_number(name: str, value: Any) -> None:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}.")


def _is_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}.")


_RULES: dict[Any, Any] = {
    int: _is_count,
    float: _is_number,
    bool: _is_flag,
    Cell: is_cell,
    Layer: is_layer,
}
