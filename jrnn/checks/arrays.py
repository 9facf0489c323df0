"""Checks of arrays: shapes, dtypes, known lengths and ids."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.checks.foreign import refuse_foreign
from jrnn.checks.trees import named_leaves, outline
from jrnn.types import Array, Shape


def concrete(x: Any) -> bool:
    """Whether the values of `x` are known here: not traced, nor on another host."""
    if x is None or isinstance(x, jax.core.Tracer):
        return False
    return bool(getattr(x, "is_fully_addressable", True))


def integers(name: str, value: Any, hint: str = "") -> Array:
    """Returns integers as an array in which arithmetic cannot wrap.

    The result is int32, or int64 if that is enabled and `value` has 64 bits. Comparing
    `uint8` with 300, or clipping it to 300, computes with 300 - 256.

    Args:
      name: The name of the argument.
      value: An array, or a list. A traced `uint32` or `uint64` that is too large is
        replaced by the largest number of the result.
      hint: What to do if `value` does not hold integers.

    Raises:
      TypeError: if `value` does not hold integers.
      ValueError: if a known number is too large.
    """
    given = value if isinstance(value, jax.Array) else np.asarray(value)
    if not jnp.issubdtype(given.dtype, jnp.integer):
        raise TypeError(f"{name} must be integers, got {given.dtype}.{hint}")
    dtype = jax.dtypes.canonicalize_dtype(
        jnp.int64 if given.dtype.itemsize > 4 else jnp.int32
    )
    limits = jnp.iinfo(dtype)
    if isinstance(given, np.ndarray):
        extremes = (int(given.min()), int(given.max())) if given.size else (0, 0)
        for extreme in extremes:
            if not limits.min <= extreme <= limits.max:
                raise ValueError(
                    f"{name} contains {extreme}, which is out of range for "
                    f"{limits.dtype}. Enable 64 bits with "
                    "`jax.config.update('jax_enable_x64', True)`."
                )
        return jnp.asarray(given.astype(dtype))
    if jnp.iinfo(given.dtype).max > limits.max:
        given = jnp.minimum(given, jnp.asarray(limits.max, given.dtype))
    return given.astype(dtype)


def ids(name: str, value: Any, vocabulary: int) -> Array:
    """Returns integer ids that were checked, as `integers` does.

    Raises:
      TypeError: if they are not integers.
      ValueError: if one that is known is not in [0, vocabulary).
    """
    value = integers(name, value, _IDS)
    if concrete(value):
        known = np.asarray(value)
        bad = np.argwhere((known < 0) | (known >= vocabulary))
        if bad.size:
            place = tuple(bad[0].tolist())
            raise ValueError(
                f"{name} contains the id {known[place]} at position {list(place)}, "
                f"but ids must be 0 to {vocabulary - 1} for a vocabulary of "
                f"{vocabulary} symbols."
            )
    return value


_IDS = " Ids of tokens are integers; vectors need no `jrnn.Embed`."


def dtype(name: str, value: Any, kind: Any = jnp.inexact) -> None:
    """Raises unless `value` names a floating-point dtype, of `kind`."""
    try:
        known = value is not None and jnp.issubdtype(jnp.dtype(value), kind)
    except TypeError:
        known = False
    if not known:
        given = getattr(value, "__name__", None) or repr(value)
        raise TypeError(
            f"{name} must be a floating-point dtype, such as `jnp.float32` or "
            f"`jnp.bfloat16`, got {given}."
        )


def array(name: str, value: Any) -> None:
    """Raises unless `value` is one array, not a tree of them."""
    refuse_foreign(name, value)
    if not hasattr(value, "shape"):
        raise TypeError(
            f"{name} must be one array, got {outline(value)}. Merge the outputs of a "
            "`jrnn.Bidirectional`, for example by merge='concat'; make an array of a "
            "list with `jnp.asarray`."
        )


def last_axis(name: str, x: Array, size: int) -> None:
    """Raises unless `x` is an array of shape [..., size]."""
    array(name, x)
    if np.ndim(x) == 0 or np.shape(x)[-1] != size:
        raise ValueError(
            f"{name} must have {size} features on its last axis, but its shape is "
            f"{list(np.shape(x))}. The number was fixed by `input_size` when the "
            "parameters were initialized: pass such an input, or call "
            f"`init(key, input_size={(np.shape(x) or (1,))[-1]})`."
        )


def sequence_axes(xs: Any, feature_axes: int, time_major: bool) -> tuple[Shape, int]:
    """Returns the batch shape and the number of time steps of the inputs `xs`.

    Raises:
      ValueError: if there is no time axis, or if leaves disagree on these axes.
    """
    layout = "[time, *batch, features]" if time_major else "[*batch, time, features]"
    if feature_axes != 1:
        layout = layout.replace("features", f"{feature_axes} feature axes")
    leaves = named_leaves("xs", xs)
    if not leaves:
        raise ValueError("xs must contain at least one array, got none.")
    leading = {}
    for name, leaf in leaves.items():
        shape = np.shape(leaf)
        if len(shape) < feature_axes + 1:
            raise ValueError(
                f"{name} must be {layout}, got {list(shape)}. For one time step use "
                "`jrnn.step`."
            )
        leading[name] = shape[: len(shape) - feature_axes]
    if len(set(leading.values())) > 1:
        shapes = {name: list(np.shape(leaf)) for name, leaf in leaves.items()}
        raise ValueError(
            f"The leaves of xs must share their time and batch axes, as in {layout}, "
            f"but their shapes are {shapes}."
        )
    axes = next(iter(leading.values()))
    return (axes[1:], axes[0]) if time_major else (axes[:-1], axes[-1])


def flags(name: str, value: Array | None, batch: Shape, time: int, major: bool) -> None:
    """Raises unless `value` is None or boolean [*batch, time] (or time first)."""
    if value is None:
        return
    expected = (time, *batch) if major else (*batch, time)
    if value.dtype != bool:
        raise TypeError(
            f"{name} must be boolean, got {value.dtype}. Integer lengths go in "
            f"`lengths=`; zeros and ones become booleans with `{name} != 0`."
        )
    if value.shape != expected:
        layout = "[time, *batch]" if major else "[*batch, time]"
        raise ValueError(
            f"{name} must be {layout} = {list(expected)} like xs, got "
            f"{list(value.shape)}."
        )


def lengths(value: Array | None, batch: Shape, time: int, least: int = 0) -> None:
    """Raises unless `value` is None or integers [*batch] in [least, time].

    They are the result of `jrnn.masks.as_lengths`.
    """
    if value is None:
        return
    if value.shape != batch:
        raise ValueError(
            f"lengths must have the batch shape {list(batch)} of xs, got "
            f"{list(value.shape)}."
        )
    if not concrete(value):
        return  # clipped to [0, time] where it is used
    bad = np.argwhere((np.asarray(value) < least) | (np.asarray(value) > time))
    if bad.size:
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"lengths must lie between {least} and the {time} time steps of xs, but "
            f"lengths{list(where)} is {int(np.asarray(value)[where])}. Clip them with "
            f"`jnp.clip(lengths, {least}, {time})` if that is what you mean."
        )


def same_shape(name: str, value: Any, expected: Shape, like: str) -> None:
    """Raises unless `value` has the shape `expected`, which is that of `like`."""
    if np.shape(value) != tuple(expected):
        raise ValueError(
            f"{name} must have the shape of {like}, {list(expected)}, got "
            f"{list(np.shape(value))}."
        )


def memory_rows(memory: Shape, batch: Shape) -> None:
    """Raises unless the batch of a memory broadcasts to that of the sequences."""
    pairs = zip(memory[::-1], batch[::-1], strict=False)
    if len(memory) > len(batch) or any(m not in (1, b) for m, b in pairs):
        raise ValueError(
            f"the memory has the batch shape {list(memory)}, but the sequences have "
            f"{list(batch)}. Call `attend_to` with one memory for each sequence, or "
            "one [S, M] for all."
        )


def step_mask(mask: Array, expected: Shape) -> None:
    """Raises unless `mask` is boolean with one entry per step."""
    if mask.dtype != bool:
        raise TypeError(f"mask must be boolean, got {mask.dtype}. Use `mask != 0`.")
    same_shape("mask", mask, expected, "one entry per step")
