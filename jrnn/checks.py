"""Checks at the border of the library, with messages that say how to recover."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.types import Array, Shape


def concrete(x: Any) -> bool:
    """Whether the values of `x` are known here: not traced, nor on another host."""
    if x is None or isinstance(x, jax.core.Tracer):
        return False
    return bool(getattr(x, "is_fully_addressable", True))


def named_leaves(name: str, tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by the names a user would write: `state.h`."""
    return {
        f"{name}{jax.tree_util.keystr(path)}": leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def one_of(name: str, value: Any, options: Iterable[Any]) -> None:
    """Raises unless `value` is one of `options`."""
    options = list(options)
    if value not in options:
        raise ValueError(f"{name} must be one of {options}, got {value!r}.")


def at_least(name: str, value: float, bound: float) -> None:
    """Raises unless `value >= bound`."""
    if not value >= bound:
        raise ValueError(f"{name} must be at least {bound}, got {value!r}.")


def positive(name: str, value: float) -> None:
    """Raises unless `value > 0`."""
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value!r}.")


def probability(name: str, value: float) -> None:
    """Raises unless `value` is in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} is a probability in [0, 1), got {value!r}.")


def count(name: str, value: Any, number: int, meaning: str) -> None:
    """Raises unless `value` has `number` entries."""
    if len(value) != number:
        raise ValueError(
            f"{name} must hold {number} entries ({meaning}), got {len(value)}."
        )


def equal_sizes(name: str, size: int, expected: int) -> None:
    """Raises unless two sizes that are to be combined are equal."""
    if size != expected:
        raise ValueError(
            f"{name} has {size} features and would be combined with {expected}; they "
            "must be equal. Put a `jrnn.Dense` in between, or merge by 'concat'."
        )


def ids(name: str, value: Array, vocabulary: int) -> None:
    """Raises unless `value` holds integers, those that are known in [0, vocabulary)."""
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"{name} must be integer ids, got {value.dtype}.")
    if not concrete(value):
        return
    known = np.asarray(value)
    bad = known[(known < 0) | (known >= vocabulary)]
    if bad.size:
        raise ValueError(
            f"{name} holds the id {bad[0]}, but ids are 0 to {vocabulary - 1} in a "
            f"vocabulary of {vocabulary} symbols."
        )


def last_axis(name: str, x: Array, size: int) -> None:
    """Raises unless `x` has shape [..., size]."""
    if jnp.ndim(x) == 0 or jnp.shape(x)[-1] != size:
        raise ValueError(
            f"{name} must have {size} features on its last axis, but its shape is "
            f"{list(jnp.shape(x))}. The number was fixed by `input_size` when the "
            "parameters were initialised: pass such an input, or call "
            f"`init(key, input_size={(jnp.shape(x) or (1,))[-1]})`."
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
        raise ValueError("xs holds no array; it must have at least one leaf.")
    leading = {}
    for name, leaf in leaves.items():
        shape = jnp.shape(leaf)
        if len(shape) < feature_axes + 1:
            raise ValueError(
                f"{name} must be {layout}, got {list(shape)}. For one time step use "
                "`jrnn.step`."
            )
        leading[name] = shape[: len(shape) - feature_axes]
    if len(set(leading.values())) > 1:
        shapes = {name: list(jnp.shape(leaf)) for name, leaf in leaves.items()}
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
    """Raises unless `value` is None or integers [*batch] in [least, time]."""
    if value is None:
        return
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(
            f"lengths must be integers, got {value.dtype}. Booleans go in `mask=`."
        )
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
    if jnp.shape(value) != tuple(expected):
        raise ValueError(
            f"{name} must have the shape of {like}, {list(expected)}, got "
            f"{list(jnp.shape(value))}."
        )


def step_mask(mask: Array, expected: Shape) -> None:
    """Raises unless `mask` is boolean with one entry per step."""
    if mask.dtype != bool:
        raise TypeError(f"mask must be boolean, got {mask.dtype}. Use `mask != 0`.")
    same_shape("mask", mask, expected, "one entry per step")


def same_structure(name: str, value: Any, expected: Any, recover: str) -> None:
    """Raises unless `value` has the structure and the shapes of `expected`."""
    if not _alike(value, expected):
        raise TypeError(
            f"{name} must be a {_outline(expected)}, got {_outline(value)}. {recover}"
        )
    for (leaf_name, leaf), like in zip(
        named_leaves(name, value).items(), jax.tree.leaves(expected), strict=True
    ):
        if jnp.shape(leaf) != like.shape:
            raise ValueError(
                f"{leaf_name} must have shape {list(like.shape)}, got "
                f"{list(jnp.shape(leaf))}. {recover}"
            )


def same_state(before: Any, after: Any, xs: Any, params: Any) -> None:
    """Raises unless one step left the state with its structure, shapes and dtypes."""
    if not _alike(before, after):
        raise TypeError(
            f"cell.step must return a state like the one it takes, "
            f"{_outline(before)}, but returned {_outline(after)}."
        )
    for (name, old), new in zip(
        named_leaves("state", before).items(), jax.tree.leaves(after), strict=True
    ):
        if jnp.shape(old) != new.shape:
            raise TypeError(
                f"{name} has shape {list(jnp.shape(old))} before cell.step and "
                f"{list(new.shape)} after it; they must be the same."
            )
        if old.dtype != new.dtype:
            raise TypeError(
                f"{name} is {old.dtype} before a step and {new.dtype} after it: xs are "
                f"{_dtypes(xs)} and params are {_dtypes(params)}. A cell never casts. "
                "Cast xs or the state, `jax.tree.map(lambda a: a.astype(dtype), xs)`, "
                "or compute in another precision with `jrnn.MixedPrecision(cell)`."
            )


def _alike(a: Any, b: Any) -> bool:
    structures: list[Any] = [jax.tree.structure(tree) for tree in (a, b)]
    return structures[0] == structures[1]


def _dtypes(tree: Any) -> str:
    return " and ".join(sorted({str(leaf.dtype) for leaf in jax.tree.leaves(tree)}))


def _outline(tree: Any) -> str:
    """Describes a tree by containers and shapes: `LSTMState(h=[2, 4], c=[2, 4])`."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        fields = zip(tree._fields, tree, strict=True)
        inner = ", ".join(f"{name}={_outline(leaf)}" for name, leaf in fields)
        return f"{type(tree).__name__}({inner})"
    if isinstance(tree, tuple | list):
        return f"{type(tree).__name__} of ({', '.join(map(_outline, tree))})"
    if tree is None:
        return "None"
    return str(list(jnp.shape(tree))) if jax.tree.leaves(tree) else type(tree).__name__
