"""Checks of the options of a layer when it is built."""

import numbers
from typing import Any

from jrnn import checks
from jrnn.types import Layer


def count(name: str, value: Any) -> None:
    """Raises unless `value` is a positive integer."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    checks.at_least(name, int(value), 1)


def number(name: str, value: Any) -> None:
    """Raises unless `value` is a real number."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}.")


def flag(name: str, value: Any) -> None:
    """Raises unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}.")


def layer(name: str, value: Any) -> None:
    """Raises unless `value` is a layer."""
    if not isinstance(value, Layer):
        raise TypeError(
            f"{name} needs layers, got {value!r}. Wrap a cell in `jrnn.Recurrent`."
        )
