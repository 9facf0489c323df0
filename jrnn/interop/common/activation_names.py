"""The names that other libraries have for the activations of jrnn."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import activations
from jrnn.types import Activation

# Each name with the functions that compute it. The first function is jrnn's own.
ACTIVATIONS: dict[str, tuple[Activation, ...]] = {
    "tanh": (activations.tanh, jnp.tanh, jax.nn.tanh),
    "sigmoid": (activations.sigmoid, jax.nn.sigmoid),
    "relu": (activations.relu, jax.nn.relu),
    "linear": (activations.identity, jax.nn.identity),
    "relu6": (activations.relu6, jax.nn.relu6),
    "softplus": (activations.softplus, jax.nn.softplus),
    "softsign": (activations.softsign, jax.nn.soft_sign),
    "silu": (activations.silu, jax.nn.silu),
    "selu": (activations.selu, jax.nn.selu),
    "exponential": (activations.exponential, jnp.exp),
}


def activation_name(function: Activation, library: str) -> str:
    """Returns the name of an activation in other libraries.

    Raises:
      ValueError: if the activation has no such name.
    """
    for name, functions in ACTIVATIONS.items():
        if any(function is each for each in functions):
            return name
    raise ValueError(
        f"{library} has no activation {getattr(function, '__name__', function)!r}. Use "
        f"one of {sorted(ACTIVATIONS)}, which all convert."
    )


def check_default_activations(cell: Any, library: str) -> None:
    """Raises unless the activations of a gated cell are sigmoid, tanh and tanh."""
    wanted = {"gate": "sigmoid", "activation": "tanh", "output_activation": "tanh"}
    for field, name in wanted.items():
        function = getattr(cell, field, None)
        if function is None:
            continue
        own = activation_name(function, library)
        if own != name:
            raise ValueError(
                f"The {field} of {cell!r} is {own}, but {library} always computes with "
                f"{name} there. Use {field}={name}: with the same weights, another "
                f"{field} gives other results."
            )


def check_one_activation(cell: Any, library: str) -> None:
    """Raises unless the candidate and the output of a cell have one activation."""
    if getattr(cell, "output_activation", None) not in (None, cell.activation):
        raise ValueError(
            f"A cell of {library} has one activation for candidate and output, but "
            f"{cell!r} has two. Use `output_activation=None`."
        )
