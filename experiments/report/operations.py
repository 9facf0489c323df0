"""The operations that `static/program.js` knows, by their names in JAX."""

from collections.abc import Callable
from typing import Any

# Functions of one array or of several, element by element, by their names in JAX.
ELEMENTWISE = frozenset(
    [
        *("abs", "acos", "add", "and", "asin", "atan", "atan2", "cbrt", "ceil", "cos"),
        *("cosh", "div", "eq", "erf", "exp", "exp2", "expm1", "floor", "ge", "gt"),
        *("is_finite", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul"),
        *("ne", "neg", "not", "or", "pow", "rem", "round", "rsqrt", "select_n"),
        *("sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "xor"),
    ]
)
# Operations that keep all values in order; some change the shape or the dtype.
SAME = frozenset(
    [
        *("convert_element_type", "copy", "copy_p", "expand_dims", "reshape"),
        *("optimization_barrier", "reduce_precision", "squeeze", "stop_gradient"),
    ]
)
# Operations that are made of others.
INLINED = frozenset(
    [
        *("checkpoint", "closed_call", "core_call", "custom_jvp_call", "jit", "pjit"),
        *("custom_vjp_call", "custom_vjp_call_jaxpr", "remat", "remat2"),
    ]
)


class UnknownOperationError(Exception):
    """A step contains an operation that the page does not support."""


def describe(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Returns the parameters of an operation, as JSON values.

    Raises:
      UnknownOperationError: If the page does not know the operation.
    """
    if name in ELEMENTWISE:
        return {}
    if name in SAME:
        return {"op": "same"}
    if name in PARAMETERS:
        return PARAMETERS[name](given)
    raise UnknownOperationError(f"its step contains the operation {name}")


def _dot(given: dict[str, Any]) -> dict[str, Any]:
    contract, batch = given["dimension_numbers"]
    return {"contract": [*map(list, contract)], "batch": [*map(list, batch)]}


def _slice(given: dict[str, Any]) -> dict[str, Any]:
    starts = list(given["start_indices"])
    return {"starts": starts, "steps": list(given["strides"] or [1] * len(starts))}


def _gather(given: dict[str, Any]) -> dict[str, Any]:
    numbers = given["dimension_numbers"]
    if numbers.operand_batching_dims:
        raise UnknownOperationError("its step gathers batches")
    return {
        "offset": list(numbers.offset_dims),
        "collapsed": list(numbers.collapsed_slice_dims),
        "starts": list(numbers.start_index_map),
        "sizes": list(given["slice_sizes"]),
    }


def _axes(given: dict[str, Any]) -> dict[str, Any]:
    return {"axes": list(given["axes"])}


def _pad(given: dict[str, Any]) -> dict[str, Any]:
    config = given["padding_config"]
    if any(low < 0 or high < 0 or inner for low, high, inner in config):
        raise UnknownOperationError("its step pads by a negative number or inside")
    return {"before": [int(low) for low, _, _ in config]}


PARAMETERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "argmax": _axes,
    "broadcast_in_dim": lambda given: {"axes": list(given["broadcast_dimensions"])},
    "concatenate": lambda given: {"axis": given["dimension"]},
    "dot_general": _dot,
    "dynamic_slice": lambda given: {},
    "gather": _gather,
    "integer_pow": lambda given: {"power": given["y"]},
    "pad": _pad,
    "reduce_and": _axes,
    "reduce_max": _axes,
    "reduce_min": _axes,
    "reduce_or": _axes,
    "reduce_prod": _axes,
    "reduce_sum": _axes,
    "slice": _slice,
    "split": lambda given: {"axis": given["axis"]},
    "transpose": lambda given: {"axes": list(given["permutation"])},
}
