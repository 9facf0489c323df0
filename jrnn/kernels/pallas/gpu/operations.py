"""What the operations of a step do to blocks of units."""

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from jrnn.types import Array

Parts = Any  # one array for each gate, or one for all; or a Python scalar


class Slot:
    """A value of a step: what it looks like in the whole step."""

    def __init__(self, aval: Any):
        self.shape, self.dtype = aval.shape, aval.dtype


class Operation(NamedTuple):
    """A primitive of JAX, between slots or scalars."""

    name: str
    ins: list[Any]
    outs: list[Slot]
    params: dict[str, Any]


class UnsupportedError(Exception):
    """A step does something that is not supported on blocks of units."""


def gates(slot: Any, units: int) -> int:
    """Returns how many blocks of units an array has; 1 if it has no units."""
    return max(slot.shape[-1] // units, 1)


def apply(op: Operation, args: list[Parts], units: int) -> list[Parts]:
    """Applies an operation to the parts of its arguments."""
    number = gates(op.outs[0], units) if op.outs[0].shape else 1
    lists = [arg for arg in args if isinstance(arg, list)]
    if op.name in _MOVES:
        return _MOVES[op.name](op, args, units)
    if op.name in _SAME:
        (arg,) = args
        if not isinstance(arg, list) or len(arg) == number:
            return [arg]
        if len(arg) == 1:
            return [arg * number]
    elif op.name in _ELEMENTWISE:
        function = _ELEMENTWISE[op.name]
        if not lists:
            return [function(op.params, *args)]
        if all(len(arg) in (1, number) for arg in lists):
            pick = lambda arg, k: arg[k % len(arg)] if isinstance(arg, list) else arg  # noqa: E731
            return [
                [
                    function(op.params, *(pick(arg, k) for arg in args))
                    for k in range(max(map(len, lists)))
                ]
            ]
    raise UnsupportedError(f"the operation {op.name!r}")


def _blocks(size: int, units: int) -> int:
    if size % units:
        raise UnsupportedError("a part of the units of a gate")
    return size // units


def _split(op: Operation, args: list[Parts], units: int) -> list[Parts]:
    (arg,) = args
    if op.params["axis"] != len(op.ins[0].shape) - 1:
        raise UnsupportedError("a split of another axis than that of the units")
    found, end = [], 0
    for size in op.params["sizes"]:
        start, end = end, end + _blocks(size, units)
        found.append(arg[start:end])
    return found


def _slice(op: Operation, args: list[Parts], units: int) -> list[Parts]:
    (arg,) = args
    begin, end = op.params["start_indices"], op.params["limit_indices"]
    whole = op.ins[0].shape[:-1]
    if any(begin[:-1]) or tuple(end[:-1]) != whole or op.params["strides"]:
        raise UnsupportedError("a slice of rows")
    return [arg[_blocks(begin[-1], units) : _blocks(end[-1], units)]]


def _concatenate(op: Operation, args: list[Parts], units: int) -> list[Parts]:
    if op.params["dimension"] != len(op.outs[0].shape) - 1:
        raise UnsupportedError(
            "a concatenation along another axis than that of the units"
        )
    filled = []
    for arg, slot in zip(args, op.ins, strict=True):
        number = _blocks(slot.shape[-1], units)
        filled += arg if isinstance(arg, list) else [arg] * number
    return [filled]


def _pad(op: Operation, args: list[Parts], units: int) -> list[Parts]:
    arg, value = args
    *others, (low, high, inner) = op.params["padding_config"]
    if any(map(any, others)) or inner or not isinstance(arg, list):
        raise UnsupportedError("padding of rows")
    return [[value] * _blocks(low, units) + arg + [value] * _blocks(high, units)]


def _convert(op: Operation, args: list[Parts], units: int) -> list[Parts]:
    """Keeps the dtype: everything is computed in float32, and flags stay flags."""
    del units
    old = op.ins[0].dtype if isinstance(op.ins[0], Slot) else jnp.float32
    new = op.params["new_dtype"]
    if jnp.issubdtype(old, jnp.floating) and jnp.issubdtype(new, jnp.floating):
        return args
    flags = jnp.issubdtype(old, jnp.bool_) and isinstance(args[0], list)
    if flags and jnp.issubdtype(new, jnp.floating):
        return [[jnp.where(a, 1.0, 0.0) for a in args[0]]]
    raise UnsupportedError(f"a conversion of {old} to {new}")


def _power(params: Any, x: Any) -> Any:
    number = params["y"]
    result = math.prod([x] * abs(number)) if number else x * 0 + 1
    return result if number >= 0 else 1 / result


def _select(params: Any, flag: Array, *cases: Any) -> Any:
    del params
    if len(cases) != 2:
        raise UnsupportedError("a choice between more than two values")
    return jnp.where(flag, cases[1], cases[0])


def _log1p(x: Array) -> Array:
    """Computes log(1 + x) from a logarithm that is accurate."""
    u = 1 + x
    return jnp.where(u == 1, x, jnp.log(u) * (x / jnp.where(u == 1, 1.0, u - 1)))


def _of(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda params, *args: function(*args)


_SAME = {"broadcast_in_dim", "reshape", "squeeze", "copy", "copy_p", "stop_gradient"}
_MOVES: dict[str, Any] = {
    "split": _split,
    "slice": _slice,
    "concatenate": _concatenate,
    "pad": _pad,
    "convert_element_type": _convert,
}
_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": _of(operator.add),
    "add_any": _of(operator.add),
    "sub": _of(operator.sub),
    "mul": _of(operator.mul),
    "div": _of(operator.truediv),
    "neg": _of(operator.neg),
    "max": _of(jnp.maximum),
    "min": _of(jnp.minimum),
    "abs": _of(jnp.abs),
    "sign": _of(jnp.sign),
    "tanh": _of(jnp.tanh),
    "logistic": _of(lax.logistic),
    "exp": _of(jnp.exp),
    "log": _of(jnp.log),
    "log1p": _of(_log1p),
    "rsqrt": _of(lax.rsqrt),
    "sin": _of(jnp.sin),
    "cos": _of(jnp.cos),
    "square": _of(lambda x: x * x),
    "integer_pow": _power,
    "select_n": _select,
    "clamp": _of(lambda low, x, high: jnp.minimum(jnp.maximum(x, low), high)),
    "and": _of(operator.and_),
    "or": _of(operator.or_),
    "not": _of(operator.invert),
    "eq": _of(operator.eq),
    "ne": _of(operator.ne),
    "lt": _of(operator.lt),
    "le": _of(operator.le),
    "gt": _of(operator.gt),
    "ge": _of(operator.ge),
}
