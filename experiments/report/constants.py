"""The constants of a program: each stored once, as base64."""

import base64
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.report.operations import UnknownOperationError


class Known(NamedTuple):
    """A value that does not depend on state or token."""

    value: Any
    source: "tuple[Known, Any] | None" = None  # it is a transposed other value


class Place(NamedTuple):
    """A value that the page computes, by its number."""

    number: int


class Store:
    """Numbers of constants, each stored once; transposed ones are made in the page."""

    def __init__(self, place: Callable[[], Place], short: bool) -> None:
        self.place, self.short = place, short
        self.constants: list[dict[str, Any]] = []
        self.setup: list[dict[str, Any]] = []
        self.numbers: dict[int, int] = {}
        self.kept: list[Any] = []  # so that no id is used again
        self.bytes = 0

    def number(self, arg: Any) -> int:
        """Returns the number of a value."""
        if isinstance(arg, Place):
            return arg.number
        key = id(arg.value)
        if key in self.numbers:
            return self.numbers[key]
        self.numbers[key] = number = self.place().number
        self.kept.append(arg.value)
        if arg.source:
            inner, axes = arg.source
            shape = list(np.shape(arg.value))
            row = {"op": "transpose", "in": [self.number(inner)], "out": [number]}
            kind = kind_of(arg.value.dtype)
            self.setup.append(row | {"shapes": [shape], "kind": kind, "axes": [*axes]})
        else:
            content = encode(np.asarray(arg.value), self.short)
            self.bytes += math.ceil(len(content["data"]) * 3 / 4)
            self.constants.append({"number": number, **content})
        return number


def root(known: Known) -> Known:
    """Returns the value that is stored, of which this one is a transpose."""
    return root(known.source[0]) if known.source else known


def kind_of(dtype: Any) -> str:
    """Returns f, i or b for real numbers, integers and booleans."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise UnknownOperationError("its step computes with complex numbers")
    if jnp.issubdtype(dtype, jnp.floating):
        return "f"
    return "b" if dtype == jnp.bool_ else "i"


def encode(array: np.ndarray, short: bool) -> dict[str, Any]:
    """Returns an array as base64: f4, f2, i4 or u1, little-endian."""
    kind = kind_of(array.dtype)
    stored = {"f": "<f2" if short and array.ndim > 1 else "<f4", "i": "<i4", "b": "u1"}
    data = np.ascontiguousarray(array.astype(stored[kind])).tobytes()
    return {
        "shape": list(array.shape),
        "type": stored[kind].strip("<"),
        "data": base64.b64encode(data).decode(),
    }
