"""Checks for inputs that are not JAX arrays, which say what to pass instead."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def as_arrays(name: str, tree: Any) -> Any:
    """Returns a tree whose leaves are arrays of JAX; NumPy's are converted.

    Raises:
      TypeError: if it is a sequence or tensor of PyTorch, or holds bare numbers.
    """
    refuse_foreign(name, tree)

    def convert(leaf: Any) -> Any:
        refuse_foreign(name, leaf)
        if not isinstance(leaf, jax.Array) and not hasattr(leaf, "__array__"):
            raise TypeError(
                f"{name} must contain arrays, got {type(tree).__name__} with "
                f"{_short(leaf)} in it. Make one array: `jnp.asarray({name})`, or of "
                "sequences of different lengths, `jrnn.sequences.pad`."
            )
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OUS":
            raise TypeError(
                f"{name} must contain numbers, got an array of {leaf.dtype}. Pad "
                "sequences of different lengths by `jrnn.sequences.pad`."
            )
        return jnp.asarray(leaf)

    return jax.tree.map(convert, tree)


def refuse_foreign(name: str, value: Any) -> None:
    """Raises if `value` is of PyTorch.

    Raises:
      TypeError: with the conversion to use.
    """
    kind = type(value)
    if kind.__module__.split(".")[0] != "torch":
        return
    if kind.__name__ == "PackedSequence":
        raise TypeError(
            f"{name} is a PackedSequence of PyTorch. Unpack it, `padded, lengths = "
            "pad_packed_sequence(packed, batch_first=True)`, and pass "
            "`jnp.asarray(padded.numpy())` with `lengths=lengths.numpy()`."
        )
    raise TypeError(
        f"{name} contains a torch.{kind.__name__}. Convert it with "
        "`jnp.asarray(x.detach().cpu().numpy())`."
    )


def key(name: str, value: Any) -> None:
    """Raises unless `value` is None or a key of `jax.random`."""
    if value is not None:
        _require_key(name, value)


def init_key(value: Any) -> Any:
    """Returns the key that an `init` draws from.

    Raises:
      TypeError: if it is no key of `jax.random`, or None.
    """
    _require_key("key", value)
    return value


def split_key(value: Any, number: int = 2) -> Any:
    """Splits a key, which must be one of `jax.random`."""
    return jax.random.split(init_key(value), number)


def _require_key(name: str, value: Any) -> None:
    dtype = getattr(value, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    raw = dtype == jnp.uint32 and value.ndim == 1
    if not (raw or (typed and value.ndim == 0)):
        raise TypeError(
            f"{name} must be a key of JAX, such as `jax.random.key(0)`, got "
            f"{_short(value)}."
        )


def _short(value: Any) -> str:
    if hasattr(value, "shape") and np.ndim(value):
        return f"an array of shape {list(value.shape)}"
    return repr(value)
