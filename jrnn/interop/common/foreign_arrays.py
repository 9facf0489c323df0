"""Reads the arrays of other libraries, and checks their shapes.

Conversions slice, transpose and join arrays. They are differentiable, so a loss can be
taken with respect to the arrays of the other library.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.types import Array


def to_array(name: str, value: Any) -> Array:
    """Copies a weight of another library into a JAX array with the same dtype.

    Args:
      name: The name of the weight, for error messages.
      value: A numpy array, a JAX array, what these are made from, or a PyTorch tensor.

    Raises:
      TypeError: if the elements are not floating-point numbers.
      ValueError: if it is float64 and JAX would convert it to float32.
    """
    made: Any = value if isinstance(value, jax.Array) else _to_numpy(value)
    if not jnp.issubdtype(made.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be floating point, got {made.dtype}. Cast it to float32."
        )
    if made.dtype == np.float64 and jnp.result_type(float) != made.dtype:
        raise ValueError(
            f"{name} is float64, but JAX is configured to convert arrays to float32. "
            "Enable float64 with `jax.config.update('jax_enable_x64', True)`, or cast "
            "the weights to float32."
        )
    return jnp.array(made)


def _to_numpy(value: Any) -> np.ndarray:
    if type(value).__module__ == "torch" or hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # numpy has no bfloat16 of its own
            return np.asarray(value.float().numpy(), jnp.bfloat16)
    return np.asarray(value)


def check_shape(name: str, value: Array, expected: tuple[int, ...]) -> None:
    """Raises unless a weight has the shape that the other weights require."""
    if value.shape != expected:
        raise ValueError(
            f"{name} must have shape {list(expected)} to fit the other weights, got "
            f"{list(value.shape)}. Pass the weights of one module."
        )


def count_gates(name: str, weights: Array, size: int, axis: int = -1) -> int:
    """Returns the number of gates of `size` units along an axis of a weight matrix.

    Raises:
      ValueError: if it is not a matrix, is empty, or if `size` does not divide it.
    """
    if weights.ndim != 2 or not weights.size or not size or weights.shape[axis] % size:
        raise ValueError(
            f"{name} must be a matrix with one block of {size} units per gate, got "
            f"shape {list(weights.shape)}. Pass the weights of a recurrent module."
        )
    return weights.shape[axis] // size


class Reader:
    """The named arrays of a module. Each of them must be read exactly once.

    Attributes:
      arrays: The arrays that have not been read yet.
      names: The names of all arrays.
    """

    def __init__(self, arrays: Mapping[str, Any]):
        self.arrays = {name: to_array(name, value) for name, value in arrays.items()}
        self.names = sorted(self.arrays)

    def take(self, name: str) -> Array:
        """Returns a required array."""
        if name not in self.arrays:
            raise ValueError(
                f"The weight {name!r} is missing; the names are {self.names}. Pass all "
                "weights of the module."
            )
        return self.arrays.pop(name)

    def maybe(self, name: str) -> Array | None:
        """Returns an optional array, or None."""
        return self.arrays.pop(name, None)

    def done(self) -> None:
        """Raises if an array has not been read."""
        if self.arrays:
            raise ValueError(
                f"The weights {sorted(self.arrays)} belong to no recurrent cell. The "
                "result would compute something else without them. Pass the weights of "
                "the recurrent layer only."
            )
