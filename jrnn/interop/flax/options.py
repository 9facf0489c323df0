"""The options of Flax cells, which cannot be read from weights."""

from typing import Any

import jax.numpy as jnp

from jrnn.interop.common.activation_names import ACTIVATIONS
from jrnn.types import Activation, Params

_MAX_DEPTH = 16


def of_module(module: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of the cells in a module of Linen or NNX.

    Args:
      module: A cell, an `RNN`, a `Bidirectional`, a `Sequential` of these, or None.
      given: The options that the module does not have: `gate`, `activation` and
        `residual`.

    Raises:
      ValueError: if the module contains no cell, or if its cells differ in an option.
    """
    if module is None:
        return given
    cells = _cells(module, 0)
    if not cells:
        raise ValueError(
            f"module must contain recurrent cells, got {type(module).__name__}. Pass "
            "the module of the parameters."
        )
    options = dict(given)
    names = {"gate": "gate_fn", "activation": "activation_fn", "residual": "residual"}
    for name, theirs in names.items():
        values = [
            _own(getattr(cell, theirs)) for cell in cells if hasattr(cell, theirs)
        ]
        if any(value != values[0] for value in values):
            raise ValueError(
                f"All cells of the module must have one {theirs}, got {values}. "
                "Convert its layers one by one."
            )
        options |= {name: values[0]} if values else {}
    return options


def add_residual(cell: Any, params: Params) -> tuple[Any, Params]:
    """Returns an Elman cell with its state added to the argument of its activation.

    act(x Wx + b + h Wh + h) = act(x Wx + b + h (Wh + I))
    """
    w_h = params.w_h
    return cell, params._replace(w_h=w_h + jnp.eye(len(w_h), dtype=w_h.dtype))


def _cells(module: Any, depth: int) -> list[Any]:
    if hasattr(module, "activation_fn"):
        return [module]
    parts: list[Any] = []
    for name in ("cell", "forward_rnn", "backward_rnn"):
        parts += [getattr(module, name)] if hasattr(module, name) else []
    parts += list(getattr(module, "layers", ()))
    if depth > _MAX_DEPTH:
        return []
    return [cell for part in parts for cell in _cells(part, depth + 1)]


def _own(value: Any) -> Activation | bool:
    """Returns jrnn's own function for a function of JAX."""
    for functions in ACTIVATIONS.values():
        if any(value is each for each in functions):
            return functions[0]
    return value
