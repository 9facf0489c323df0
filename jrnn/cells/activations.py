"""Activations as plain functions: they print, pickle and compare by name.

`jnp.tanh` and `jax.nn.sigmoid` work too, but are compiled objects that do not pickle.
"""

import jax
import jax.numpy as jnp

from jrnn.types import Array


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return jnp.tanh(x)


def sigmoid(x: Array) -> Array:
    """Logistic function 1 / (1 + exp(-x))."""
    return jax.nn.sigmoid(x)


def relu(x: Array) -> Array:
    """Positive part, with derivative 0 at 0."""
    return jax.nn.relu(x)


def identity(x: Array) -> Array:
    """The argument itself; makes an Elman network linear."""
    return x
