"""Checks of single options: numbers, names and sizes."""

import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np


def one_of(name: str, value: Any, options: Iterable[Any]) -> None:
    """Raises unless `value` is one of `options`."""
    options = list(options)
    if value not in options:
        raise ValueError(f"{name} must be one of {options}, got {value!r}.")


def refuse_one_string(name: str, value: Any, recover: str = "") -> None:
    """Raises if one string is given for several: it would mean its characters."""
    if isinstance(value, str):
        recover = recover or f"Pass ({value!r},) for one of them."
        raise TypeError(
            f"{name} must be a collection of strings, got {value!r}. {recover}"
        )


def number(name: str, value: Any) -> None:
    """Raises unless `value` is a real number; an array of one number is one."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if hasattr(value, "dtype"):
        real = value.ndim == 0 and np.dtype(value.dtype).kind in "iufV"  # V: bfloat16
    if not real:
        raise TypeError(f"{name} must be a number, got {value!r}.")


def finite(name: str, value: Any) -> None:
    """Raises unless `value` is a finite real number."""
    number(name, value)
    if not np.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}.")


def integer(name: str, value: Any, least: int) -> int:
    """Returns an integer of at least `least` as a Python integer.

    Integers of NumPy wrap: `4 * np.uint8(100)` is 144.
    """
    try:
        whole = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        whole = None
    if whole is None:
        shape = list(value.shape) if hasattr(value, "shape") else []
        given = f"an array of shape {shape}" if shape else repr(value)
        raise TypeError(
            f"{name} must be an integer, got {given}."
            + (f" Did you mean {shape[-1]}, its last axis?" if shape else "")
        )
    at_least(name, whole, least)
    return whole


def sizes(name: str, value: Any, least: int = 1) -> tuple[int, ...]:
    """Returns the sizes of one step, of which an integer is the only one."""
    entries = value if isinstance(value, tuple | list) else (value,)
    return tuple(integer(name, entry, least) for entry in entries)


def at_least(name: str, value: float, bound: float) -> None:
    """Raises unless `value >= bound`."""
    number(name, value)
    if not value >= bound:
        raise ValueError(f"{name} must be at least {bound}, got {value!r}.")


def positive(name: str, value: float) -> None:
    """Raises unless `value > 0`."""
    number(name, value)
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value!r}.")


def fraction(name: str, value: float) -> None:
    """Raises unless `value` is in (0, 1]."""
    number(name, value)
    if not 0 < value <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {value!r}.")


def probability(name: str, value: float) -> None:
    """Raises unless `value` is in [0, 1)."""
    number(name, value)
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be a probability in [0, 1), got {value!r}.")


def count(name: str, value: Any, number: int, meaning: str) -> None:
    """Raises unless `value` has `number` entries."""
    try:
        given: int | str = len(value)
    except TypeError:  # an array without axes has a len that raises
        given = repr(value)
    if given != number:
        raise ValueError(f"{name} must have {number} entries ({meaning}), got {given}.")


def divides(name: str, value: int, whole: str, size: int) -> None:
    """Raises unless `value` divides `size`."""
    if size % value:
        raise ValueError(f"{name} must divide {whole} = {size}, got {value}.")


def equal_sizes(name: str, size: int, expected: int) -> None:
    """Raises unless two sizes that are to be combined are equal."""
    if size != expected:
        raise ValueError(
            f"{name} has {size} features and would be combined with {expected}; they "
            "must be equal. Put a `jrnn.Dense` in between, or merge by 'concat'."
        )
