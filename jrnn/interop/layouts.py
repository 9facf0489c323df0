"""What all conversions of weights share: gate orders, arrays and checks.

Conversions are slices, transpositions and joins of arrays. They differentiate, so that
a loss can be taken in the other library's own arrays.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import activations
from jrnn.types import Activation, Array

# The order in which a library lays its gates side by side, in the letters of `LSTM` and
# `GRU`. Keras calls g and n differently: c and h.
GATES = {
    "jrnn": {"lstm": "ifgo", "gru": "rzn"},
    "torch": {"lstm": "ifgo", "gru": "rzn"},
    "flax": {"lstm": "ifgo", "gru": "rzn"},
    "equinox": {"lstm": "ifgo", "gru": "rzn"},
    "keras": {"lstm": "ifgo", "gru": "zrn"},
    "haiku": {"lstm": "igfo", "gru": "zrn"},
    "onnx": {"lstm": "iofg", "gru": "zrn"},
}

# The same functions under the names that they have elsewhere.
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


def reorder(a: Array, kind: str, source: str, target: str, axis: int = -1) -> Array:
    """Moves the gates of an array from one library's order to another's.

    Args:
      a: Gates side by side along `axis`.
      kind: "lstm" or "gru"; any other has a single block, and nothing to move.
      source: Library whose order `a` has.
      target: Library whose order is wanted.
      axis: Axis of the gates.

    Example:
      >>> import jax.numpy as jnp
      >>> reorder(jnp.array([1, 2, 3, 4]), "lstm", "jrnn", "onnx").tolist()  # i f g o
      [1, 4, 2, 3]
    """
    if kind not in GATES[source]:
        return a
    have, want = GATES[source][kind], GATES[target][kind]
    blocks = jnp.split(a, len(have), axis)
    return jnp.concatenate([blocks[have.index(gate)] for gate in want], axis)


def array(name: str, value: Any) -> Array:
    """Copies a weight into an array of jrnn, with the dtype it has.

    Takes numpy and JAX arrays, what they are made from, and tensors of PyTorch.

    Raises:
      TypeError: if it does not hold floating-point numbers.
      ValueError: if it is float64 and JAX would make it float32.
    """
    made: Any = value if isinstance(value, jax.Array) else _numpy(value)
    if not jnp.issubdtype(made.dtype, jnp.floating):
        raise TypeError(f"{name} must be floating point, got {made.dtype}.")
    if made.dtype == np.float64 and jnp.result_type(float) != made.dtype:
        raise ValueError(
            f"{name} is float64, and JAX is set to make every array float32. Enable "
            "it, `jax.config.update('jax_enable_x64', True)`, or cast the weights to "
            "float32 yourself."
        )
    return jnp.array(made)


def _numpy(value: Any) -> np.ndarray:
    if type(value).__module__ == "torch" or hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # numpy has no such dtype of its own
            return np.asarray(value.float().numpy(), jnp.bfloat16)
    return np.asarray(value)


def shape(name: str, value: Array, expected: tuple[int, ...]) -> None:
    """Raises unless a weight has the shape that the others ask for."""
    if value.shape != expected:
        raise ValueError(
            f"{name} must have shape {list(expected)} to fit the other weights, got "
            f"{list(value.shape)}."
        )


def blocks(name: str, kernel: Array, size: int, axis: int = -1) -> int:
    """Returns how many gates of `size` units lie along an axis of a kernel.

    Raises:
      ValueError: if it is no matrix, is empty, or holds no whole number of them.
    """
    if kernel.ndim != 2 or not kernel.size or not size or kernel.shape[axis] % size:
        raise ValueError(
            f"{name} must be a matrix with one block of {size} units per gate, got "
            f"{list(kernel.shape)}."
        )
    return kernel.shape[axis] // size


class Reader:
    """The named arrays of a file or a module, each of which is to be read once.

    Attributes:
      arrays: Those that are left.
    """

    def __init__(self, arrays: Mapping[str, Any]):
        self.arrays = {name: array(name, value) for name, value in arrays.items()}
        self.known = sorted(self.arrays)

    def take(self, name: str) -> Array:
        """Returns an array that must be there."""
        if name not in self.arrays:
            raise ValueError(f"{name!r} is missing; the names are {self.known}.")
        return self.arrays.pop(name)

    def maybe(self, name: str) -> Array | None:
        """Returns an array that need not be there."""
        return self.arrays.pop(name, None)

    def done(self) -> None:
        """Raises if an array is left that nothing has read."""
        if self.arrays:
            raise ValueError(
                f"Nothing reads {sorted(self.arrays)}; a conversion that leaves "
                "weights behind would not compute the same. Pass only those of the "
                "recurrent layer."
            )


def activation_name(function: Activation, library: str) -> str:
    """Returns what other libraries call an activation.

    Raises:
      ValueError: if it has no name there.
    """
    for name, functions in ACTIVATIONS.items():
        if any(function is each for each in functions):
            return name
    raise ValueError(
        f"{library} has no activation {getattr(function, '__name__', function)!r}; "
        f"those that convert are {sorted(ACTIVATIONS)}."
    )


def usual(cell: Any, library: str) -> None:
    """Raises unless the activations of a gated cell are sigmoid, tanh and tanh."""
    wanted = {"gate": "sigmoid", "activation": "tanh", "output_activation": "tanh"}
    for field, name in wanted.items():
        function = getattr(cell, field, None)
        if function is not None and activation_name(function, library) != name:
            raise ValueError(
                f"{library} computes with {name} where {cell!r} has another {field}: "
                "the weights would not mean the same there."
            )


def summed(b_x: Any, b_h: Any) -> Any:
    """Returns the sum of two biases that only ever enter as a sum; None for none."""
    return b_x if b_h is None else b_x + b_h
