"""Trees as files of arrays, and back.

Each field of a NamedTuple, or key of a dictionary, becomes a file, so that parameters
can be read without the state of the optimizer. Any other tree becomes one file.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jrnn.storage import named_arrays
from jrnn.storage.formats import CODES
from jrnn.training.checkpoints.manifest import CheckpointError
from jrnn.training.differences import differences

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_WHOLE = "tree"

Arrays = dict[str, np.ndarray]


def outline(tree: Any) -> dict[str, str]:
    """Returns the dtype and the shape of every leaf, by name.

    Example:
      >>> import jax
      >>> outline({"key": jax.random.key(0), "n": [np.zeros((2, 3), "int8")]})
      {'key': 'key<fry>[]', 'n.0': 'int8[2, 3]'}
    """
    leaves = [_typed(leaf) for leaf in jax.tree.leaves(tree)]
    shown = [f"{leaf.dtype}{[int(n) for n in leaf.shape]}" for leaf in leaves]
    return dict(zip(named_arrays.leaf_names(tree), shown, strict=True))


def to_host(tree: Any, fetch: Callable[[Any], np.ndarray]) -> Arrays:
    """Returns the values of all leaves by name. `fetch` returns that of one array."""
    named = named_arrays.flatten(tree)
    return {name: fetch(leaf) for name, leaf in named.items()}


def encode(arrays: Arrays) -> Arrays:
    """Returns arrays with the same bytes, in dtypes that files can hold.

    Raises:
      CheckpointError: If an array is not numeric.
    """
    return {name: _storable(name, array) for name, array in arrays.items()}


def decode(arrays: Arrays, saved: Mapping[str, str]) -> Arrays:
    """Undoes `encode`; `saved` is the outline of the tree that was saved."""
    return {name: _original(array, saved[name]) for name, array in arrays.items()}


def parts(tree: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Splits named leaves into one dictionary for each file, named by its stem."""
    fields = top_names(tree)
    split: dict[str, Any] = {name: {} for name in fields or [_WHOLE]}
    for name, array in arrays.items():
        split[name.partition(".")[0] if fields else _WHOLE][name] = array
    return {stem: inner for stem, inner in split.items() if inner}


def top_names(tree: Any) -> list[str]:
    """Returns the names of the parts of a tree; none if it is one file."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        names = list(tree._fields)
    elif isinstance(tree, Mapping):
        names = list(tree)
    else:
        return []
    plain = all(isinstance(name, str) and _PART.fullmatch(name) for name in names)
    distinct = plain and len({name.lower() for name in names}) == len(names)
    return names if distinct else []


def require_same(saved: Mapping[str, str], like: Mapping[str, str], cast: bool) -> None:
    """Raises unless leaves have the same names, shapes and dtypes; lists differences.

    With `cast`, dtypes may differ.
    """
    found = differences({"tree": saved}, {"tree": like})
    if cast:
        found = {
            (tree, name): sentence
            for (tree, name), sentence in found.items()
            if _shape(saved, name) != _shape(like, name)
        }
    if found:
        names = [*found.values()]
        more = f"; and {len(names) - 20} more" if len(names) > 20 else ""
        raise CheckpointError(
            "the checkpoint does not fit the run, because leaves differ: "
            f"{'; '.join(names[:20])}{more}. Build the same model and optimizer"
            f"{'' if cast else ', or pass `cast=True` if only dtypes differ'}."
        )


def shape(shown: str) -> list[int]:
    """Returns the shape of a leaf of an outline.

    Example:
      >>> shape("int8[2, 3]")
      [2, 3]
    """
    return [int(n) for n in re.findall(r"[0-9]+", shown.partition("[")[2])]


def require_numeric(name: str, dtype: np.dtype) -> None:
    """Raises unless a file can hold arrays of this dtype."""
    small = dtype.kind == "V" and dtype.itemsize == 1  # float8, int4
    if not (dtype in CODES or dtype.kind == "c" or small):
        raise CheckpointError(
            f"{name} must be numeric, got {dtype}. Put text in `progress`."
        )


def not_finite(arrays: Arrays) -> list[str]:
    """Returns the names of arrays that contain NaN or infinity."""
    return [
        name
        for name, array in arrays.items()
        if jax.numpy.issubdtype(array.dtype, np.inexact)
        and not np.all(np.isfinite(array))
    ]


def _shape(table: Mapping[str, str], name: str) -> str | None:
    text = table.get(name)
    return None if text is None else text.partition("[")[2]


def _typed(leaf: Any) -> Any:
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf)


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    """Returns an array with the same bytes, in a dtype that files can hold."""
    require_numeric(name, array.dtype)
    if array.dtype in CODES:
        return array
    flat = np.ascontiguousarray(array).reshape(-1)
    if array.dtype.kind == "c":
        real = flat.view(flat.real.dtype)
        return real.reshape(*array.shape, 2)
    return flat.view(np.uint8).reshape(array.shape)  # float8, int4


def _original(array: np.ndarray, shown: str) -> np.ndarray:
    dtype = shown.partition("[")[0]
    if dtype.startswith("key<") or dtype == str(array.dtype):
        return array
    flat = np.ascontiguousarray(array).reshape(-1).view(jax.numpy.dtype(dtype))
    return flat.reshape(shape(shown))
