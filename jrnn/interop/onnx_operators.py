"""ONNX's recurrent operators as arrays and attributes, to and from layers.

    RNN: Elman      GRU: GRU, ResetBeforeGRU      LSTM: LSTM, PeepholeLSTM

Everything here works on arrays alone and differentiates; the `onnx` package is only
needed for whole models, see `jrnn.interop.onnx`.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jrnn import checks
from jrnn.interop import layouts, onnx_activations, onnx_cells, stacks
from jrnn.interop.onnx_cells import Side, expect
from jrnn.layers import Bidirectional, BidirectionalParams, Recurrent
from jrnn.types import Array, Layer, Params, State


class Operator(NamedTuple):
    """One recurrent operator with D directions, F features and H hidden units."""

    op_type: str  # "RNN", "GRU" or "LSTM", with k = 1, 3 or 4 gates
    attributes: dict[str, Any]
    arrays: dict[str, Any]  # W [D, k*H, F], R [D, k*H, H]; B [D, 2*k*H], P [D, 3*H]


GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
KNOWN = {"activations", "activation_alpha", "activation_beta", "clip", "direction"}
KNOWN |= {"hidden_size", "layout", "linear_before_reset", "input_forget"}


def to_operator(layer: Layer, params: Params) -> Operator:
    """Returns the ONNX operator that computes a recurrent layer.

    Args:
      layer: A `Recurrent` or `Bidirectional`.
      params: Its parameters.

    Raises:
      ValueError: if no operator computes the same.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import onnx_operators
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4), reverse=True)
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> operator = onnx_operators.to_operator(layer, params)
      >>> operator.op_type, operator.attributes["direction"]
      ('LSTM', 'reverse')
      >>> {name: array.shape for name, array in operator.arrays.items()}
      {'W': (1, 16, 3), 'R': (1, 16, 4), 'B': (1, 32)}
    """
    if not isinstance(layer, Recurrent | Bidirectional):
        raise ValueError(
            f"ONNX has no recurrent operator for {layer!r}: only `Recurrent` and "
            "`Bidirectional` layers convert."
        )
    sides = [onnx_cells.write(*side) for side in stacks.sides(layer, params)]
    first, last = sides[0], sides[-1]
    for what in ("op_type", "flags"):
        a, b = getattr(first, what), getattr(last, what)
        expect(a == b, f"one operator has one {what}, but its directions {a} and {b}.")
    for name in ("R", "W"):
        a, b = first.arrays[name].shape, last.arrays[name].shape
        expect(a == b, f"one {name} for both directions, but they have {a} and {b}.")
    functions = [each for side in sides for each in side.functions]
    direction = "reverse" if getattr(layer, "reverse", False) else "forward"
    attributes = {
        "hidden_size": first.arrays["R"].shape[-1],
        "direction": "bidirectional" if len(sides) == 2 else direction,
        **onnx_activations.to_attributes(functions),
        **first.flags,
    }
    names = [n for n in ("W", "R", "B", "P") if any(n in s.arrays for s in sides)]
    arrays = {name: jnp.stack(_filled(sides, name)) for name in names}
    return Operator(first.op_type, attributes, arrays)


def from_operator(operator: Operator) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from a recurrent operator of ONNX.

    Both biases are kept, each as a parameter, but for a GRU with the reset gate before
    the product, where they only ever enter as a sum.

    Args:
      operator: Its name, attributes and arrays, as in ONNX's documentation; attributes
        left out have ONNX's defaults.

    Returns:
      A `Recurrent` or `Bidirectional`, and its parameters.

    Raises:
      ValueError: if attributes or shapes do not fit.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop.onnx_operators import Operator, from_operator
      >>> arrays = {"W": np.ones((1, 12, 3), "f"), "R": np.ones((1, 12, 4), "f")}
      >>> layer, params = from_operator(Operator("GRU", {}, arrays))
      >>> layer
      Recurrent(cell=ResetBeforeGRU(hidden_size=4, bias=None))
    """
    op_type, attributes = operator.op_type, operator.attributes
    checks.one_of("op_type", op_type, GATES)
    unknown = sorted(set(attributes) - KNOWN)
    expect(not unknown, f"the attributes {unknown} are not known.")
    direction = attributes.get("direction", "forward")
    checks.one_of("direction", direction, DIRECTIONS)
    number = DIRECTIONS[direction]
    arrays = _checked(operator, number)
    functions = onnx_activations.from_attributes(op_type, attributes, number)
    sides = [
        onnx_cells.read(
            op_type,
            functions[d],
            attributes,
            {name: array[d] for name, array in arrays.items()},
        )
        for d in range(number)
    ]
    (cell, params), (back, back_params) = sides[0], sides[-1]
    if number == 2:
        layer = Bidirectional(cell, None if back == cell else back)
        return layer, BidirectionalParams(params, back_params)
    return Recurrent(cell, reverse=direction == "reverse"), params


def state_from_onnx(
    layer: Layer, initial_h: Array, initial_c: Array | None = None, *, layout: int = 0
) -> State:
    """Returns the state of a recurrent layer for an operator's initial states.

    Args:
      layer: A `Recurrent` or `Bidirectional`.
      initial_h: [D, B, H], or [B, D, H] with `layout=1`.
      initial_c: The same for the memory of an LSTM; zero if left out, as in ONNX.
      layout: The operator's attribute.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import onnx_operators
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4))
      >>> state = onnx_operators.state_from_onnx(layer, jnp.ones((2, 5, 4)))
      >>> state.backward.h.shape
      (5, 4)
    """
    h = jnp.moveaxis(jnp.asarray(initial_h), layout, 0)
    c = jnp.zeros_like(h) if initial_c is None else jnp.asarray(initial_c)
    c = c if initial_c is None else jnp.moveaxis(c, layout, 0)
    cells = [cell for cell, _ in stacks.sides(layer, (None, None))]
    checks.count("initial_h", h, len(cells), "one per direction")
    states = [stacks.cell_state(*each) for each in zip(cells, h, c, strict=True)]
    return stacks.pair_up([layer], states)[0]


def state_to_onnx(
    layer: Layer, state: State, *, layout: int = 0
) -> tuple[Array, Array | None]:
    """Returns the state of a recurrent layer as `Y_h` and `Y_c`; None for no memory.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import onnx_operators
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> state = layer.initial_state(params, (5,))
      >>> h, c = onnx_operators.state_to_onnx(layer, state)
      >>> h.shape, c.shape
      ((1, 5, 4), (1, 5, 4))
    """
    states = [each for _, each in stacks.sides(layer, state)]
    h = jnp.stack([each.h for each in states], layout)
    if not hasattr(states[0], "c"):
        return h, None
    return h, jnp.stack([each.c for each in states], layout)


def _filled(sides: list[Side], name: str) -> list[Array]:
    """Returns an array of every direction, zeros where a direction has none."""
    known = next(side.arrays[name] for side in sides if name in side.arrays)
    return [side.arrays.get(name, jnp.zeros_like(known)) for side in sides]


def _checked(operator: Operator, directions: int) -> dict[str, Array]:
    """Returns the arrays of an operator after comparing all their shapes."""
    arrays = {
        name: layouts.array(name, array)
        for name, array in operator.arrays.items()
        if array is not None
    }
    left_over = sorted(set(arrays) - {"W", "R", "B", "P"})
    expect(not left_over, f"the arrays {left_over} are not known.")
    expect({"W", "R"} <= set(arrays), "the arrays W and R are needed.")
    w, r = arrays["W"], arrays["R"]
    expect(w.ndim == r.ndim == 3, "W and R must be [directions, gates * hidden, in].")
    size, gates = r.shape[-1], GATES[operator.op_type]
    stated = operator.attributes.get("hidden_size", size)
    expect(stated == size, f"hidden_size is {stated}, but R is for {size} units.")
    expected = {
        "W": (directions, gates * size, w.shape[-1]),
        "R": (directions, gates * size, size),
        "B": (directions, 2 * gates * size),
        "P": (directions, 3 * size),
    }
    for name, array in arrays.items():
        layouts.shape(name, array, expected[name])
    return arrays
