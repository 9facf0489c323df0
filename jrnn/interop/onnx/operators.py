"""Recurrent operators of ONNX as arrays and attributes, to and from layers.

    RNN: Elman      GRU: GRU, ResetBeforeGRU      LSTM: LSTM, PeepholeLSTM

All functions here work on arrays and are differentiable. Only whole models need the
`onnx` package.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jrnn import checks
from jrnn.interop.common import stacks
from jrnn.interop.common.foreign_arrays import check_shape, to_array
from jrnn.interop.common.states import cell_state, has_memory
from jrnn.interop.onnx import activations, directions
from jrnn.interop.onnx.directions import Direction
from jrnn.interop.onnx.expect import expect
from jrnn.layers import Bidirectional, BidirectionalParams, Recurrent
from jrnn.types import Array, Layer, Params, State


class Operator(NamedTuple):
    """One recurrent operator with D directions, F features and H hidden units."""

    op_type: str  # "RNN", "GRU" or "LSTM", with k = 1, 3 or 4 gates
    attributes: dict[str, Any]
    arrays: dict[str, Any]  # W [D, k*H, F], R [D, k*H, H]; B [D, 2*k*H], P [D, 3*H]


GATE_COUNTS = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
ATTRIBUTES = {"activations", "activation_alpha", "activation_beta", "clip", "direction"}
ATTRIBUTES |= {"hidden_size", "layout", "linear_before_reset", "input_forget"}


def to_operator(layer: Layer, params: Params) -> Operator:
    """Returns the ONNX operator that computes a recurrent layer.

    Args:
      layer: A `Recurrent` or `Bidirectional`.
      params: Its parameters.

    Raises:
      ValueError: if no operator computes the same.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import onnx
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4), reverse=True)
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> operator = onnx.to_operator(layer, params)
      >>> operator.op_type, operator.attributes["direction"]
      ('LSTM', 'reverse')
      >>> {name: array.shape for name, array in operator.arrays.items()}
      {'W': (1, 16, 3), 'R': (1, 16, 4), 'B': (1, 32)}
    """
    if not isinstance(layer, Recurrent | Bidirectional):
        raise ValueError(
            f"The layer must be a `Recurrent` or `Bidirectional`, got {layer!r}. ONNX "
            "has no other recurrent operators."
        )
    sides = [directions.write(*side) for side in stacks.directions(layer, params)]
    first, last = sides[0], sides[-1]
    for what in ("op_type", "flags"):
        a, b = getattr(first, what), getattr(last, what)
        expect(
            a == b,
            f"both directions of an operator must have one {what}, got {a} and {b}.",
        )
    for name in ("R", "W"):
        a, b = first.arrays[name].shape, last.arrays[name].shape
        expect(
            a == b,
            f"both directions of an operator must have one shape of {name}, got {a} "
            f"and {b}.",
        )
    functions = [each for side in sides for each in side.functions]
    direction = "reverse" if getattr(layer, "reverse", False) else "forward"
    attributes = {
        "hidden_size": first.arrays["R"].shape[-1],
        "direction": "bidirectional" if len(sides) == 2 else direction,
        **activations.to_attributes(functions),
        **first.flags,
    }
    names = [n for n in ("W", "R", "B", "P") if any(n in s.arrays for s in sides)]
    arrays = {name: jnp.stack(_filled(sides, name)) for name in names}
    return Operator(first.op_type, attributes, arrays)


def from_operator(operator: Operator) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from a recurrent operator of ONNX.

    Both biases remain separate parameters. Only for a GRU with the reset gate before
    the recurrent matmul, where their sum has the same effect, they become one.

    Args:
      operator: Its name, attributes and arrays, as in ONNX's documentation. Missing
        attributes have ONNX's defaults.

    Returns:
      A `Recurrent` or `Bidirectional`, and its parameters.

    Raises:
      ValueError: if an attribute is unknown, or if shapes do not fit each other.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop.onnx import Operator, from_operator
      >>> arrays = {"W": np.ones((1, 12, 3), "f"), "R": np.ones((1, 12, 4), "f")}
      >>> layer, params = from_operator(Operator("GRU", {}, arrays))
      >>> layer
      Recurrent(cell=ResetBeforeGRU(hidden_size=4, bias=False))
    """
    op_type, attributes = operator.op_type, operator.attributes
    checks.one_of("op_type", op_type, GATE_COUNTS)
    unknown = sorted(set(attributes) - ATTRIBUTES)
    expect(
        not unknown,
        f"the attributes must be among {sorted(ATTRIBUTES)}, got {unknown}.",
    )
    direction = attributes.get("direction", "forward")
    checks.one_of("direction", direction, DIRECTIONS)
    number = DIRECTIONS[direction]
    arrays = _checked(operator, number)
    functions = activations.from_attributes(op_type, attributes, number)
    sides = [
        directions.read(
            op_type,
            functions[d],
            attributes,
            {name: array[d] for name, array in arrays.items()},
        )
        for d in range(number)
    ]
    (cell, params), (back, back_params) = sides[0], sides[-1]
    if number == 2:
        both = stacks.bidirectional(cell, back)
        return both, BidirectionalParams(params, back_params)
    return Recurrent(cell, reverse=direction == "reverse"), params


def state_from_onnx(
    layer: Layer,
    initial_h: Array | None,
    initial_c: Array | None = None,
    *,
    layout: int = 0,
) -> State:
    """Returns the state of a recurrent layer for an operator's initial states.

    Args:
      layer: A `Recurrent` or `Bidirectional`.
      initial_h: [D, B, H], or [B, D, H] with `layout=1`; None for zero, as in ONNX.
      initial_c: The same for the memory of an LSTM.
      layout: The operator's attribute.

    Raises:
      ValueError: if both are None, if there is not one state per direction, or if the
        layer has no memory and gets one.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import onnx
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4))
      >>> state = onnx.state_from_onnx(layer, jnp.ones((2, 5, 4)))
      >>> state.backward.h.shape
      (5, 4)
    """
    cells = stacks.cells_of([layer])
    memory = all(map(has_memory, cells))
    names = ("initial_h", "initial_c")
    given = {
        name: jnp.moveaxis(jnp.asarray(value), layout, 0)
        for name, value in zip(names, (initial_h, initial_c), strict=True)
        if value is not None
    }
    if not given or ("initial_c" in given and not memory):
        needs = "initial_h or initial_c" if memory else "initial_h and no initial_c"
        raise ValueError(
            f"The state of {layer!r} needs {needs}, got {list(given)}. For the zero "
            "state pass `None` to `apply`."
        )
    for name, value in given.items():
        checks.count(name, value, len(cells), "one per direction")
    zero = jnp.zeros_like(next(iter(given.values())))
    h, c = (given.get(name, zero) for name in names)
    states = [cell_state(*each) for each in zip(cells, h, c, strict=True)]
    return stacks.pair_up([layer], states)[0]


def state_to_onnx(
    layer: Layer, state: State, *, layout: int = 0
) -> tuple[Array, Array | None]:
    """Returns `Y_h` and `Y_c` for the state of a layer; `Y_c` is None except for LSTMs.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import onnx
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> state = layer.initial_state(params, (5,))
      >>> h, c = onnx.state_to_onnx(layer, state)
      >>> h.shape, c.shape
      ((1, 5, 4), (1, 5, 4))
    """
    states = [each for _, each in stacks.directions(layer, state)]
    h = jnp.stack([each.h for each in states], layout)
    if not hasattr(states[0], "c"):
        return h, None
    return h, jnp.stack([each.c for each in states], layout)


def _filled(sides: list[Direction], name: str) -> list[Array]:
    """Returns an array of each direction; zeros if a direction does not have it."""
    known = next(side.arrays[name] for side in sides if name in side.arrays)
    return [side.arrays.get(name, jnp.zeros_like(known)) for side in sides]


def _checked(operator: Operator, number: int) -> dict[str, Array]:
    """Returns the arrays of an operator with this number of directions.

    Raises:
      ValueError: if their shapes do not fit each other.
    """
    arrays = {
        name: to_array(name, array)
        for name, array in operator.arrays.items()
        if array is not None
    }
    unknown = sorted(set(arrays) - {"W", "R", "B", "P"})
    expect(not unknown, f"the arrays must be W, R, B and P, got {unknown}.")
    missing = sorted({"W", "R"} - set(arrays))
    expect(not missing, f"the arrays W and R are required, but {missing} are missing.")
    w, r = arrays["W"], arrays["R"]
    expect(
        w.ndim == r.ndim == 3,
        "W and R must be [directions, gates * hidden_size, features], got "
        f"{list(w.shape)} and {list(r.shape)}.",
    )
    size, gates = r.shape[-1], GATE_COUNTS[operator.op_type]
    declared = operator.attributes.get("hidden_size", size)
    expect(
        declared == size,
        f"hidden_size must be {size}, the last size of R, got {declared}.",
    )
    expected = {
        "W": (number, gates * size, w.shape[-1]),
        "R": (number, gates * size, size),
        "B": (number, 2 * gates * size),
        "P": (number, 3 * size),
    }
    for name, array in arrays.items():
        check_shape(name, array, expected[name])
    return arrays
