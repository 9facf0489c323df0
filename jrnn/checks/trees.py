"""Checks of trees: parameters and states."""

from typing import Any

import jax
import numpy as np


def named_leaves(name: str, tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by the names a user would write: `state.h`."""
    return {
        f"{name}{jax.tree_util.keystr(path)}": leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def same_structure(name: str, value: Any, expected: Any, recover: str) -> None:
    """Raises unless `value` has the structure and the shapes of `expected`."""
    if not _alike(value, expected):
        raise TypeError(
            f"{name} must be a {outline(expected)}, got {outline(value)}. {recover}"
        )
    for (leaf_name, leaf), like in zip(
        named_leaves(name, value).items(), jax.tree.leaves(expected), strict=True
    ):
        if np.shape(leaf) != like.shape:
            raise ValueError(
                f"{leaf_name} must have shape {list(like.shape)}, got "
                f"{list(np.shape(leaf))}. {recover}"
            )


def same_params(params: Any, expected: Any, recover: str, name: str = "params") -> None:
    """Raises if parameters are those of another cell.

    Compares the classes of containers and the shapes of matrices. Vectors may differ or
    be left out: a cell may have one bias or two.
    """
    if expected is None:
        return
    if not jax.tree.leaves(expected) and not jax.tree.leaves(params):
        return
    containers = isinstance(expected, tuple), isinstance(params, tuple)
    if any(containers):
        if type(params) is not type(expected):
            raise TypeError(
                f"{name} must be a {outline(expected)}, got {outline(params)}. "
                f"{recover}"
            )
        fields = getattr(expected, "_fields", range(len(expected)))
        for field, inner, like in zip(fields, params, expected, strict=False):
            at = f"{name}.{field}" if isinstance(field, str) else f"{name}[{field}]"
            same_params(inner, like, recover, at)
    elif hasattr(expected, "shape") and len(expected.shape) > 1:
        shape = np.shape(params)
        if len(shape) != len(expected.shape) or shape[1:] != expected.shape[1:]:
            raise ValueError(
                f"{name} must have shape {list(expected.shape)}, got "
                f"{outline(params)}. {recover}"
            )


def same_state(before: Any, after: Any, xs: Any, params: Any) -> None:
    """Raises unless one step left the state with its structure, shapes and dtypes."""
    if not _alike(before, after):
        raise TypeError(
            f"cell.step must return a state like the one it takes, "
            f"{outline(before)}, but returned {outline(after)}."
        )
    for (name, old), new in zip(
        named_leaves("state", before).items(), jax.tree.leaves(after), strict=True
    ):
        if np.shape(old) != new.shape:
            raise TypeError(
                f"{name} has shape {list(np.shape(old))} before cell.step and "
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


def outline(tree: Any) -> str:
    """Describes a tree by containers and shapes: `LSTMState(h=[2, 4], c=[2, 4])`."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        fields = zip(tree._fields, tree, strict=True)
        inner = ", ".join(f"{name}={outline(leaf)}" for name, leaf in fields)
        return f"{type(tree).__name__}({inner})"
    if isinstance(tree, tuple | list):
        return f"{type(tree).__name__} of ({', '.join(map(outline, tree))})"
    if tree is None:
        return "None"
    return str(list(np.shape(tree))) if jax.tree.leaves(tree) else type(tree).__name__
