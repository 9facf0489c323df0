"""Trees of arrays as flat dictionaries with one name per leaf, and back.

Both directions work on traced arrays. `jrnn.storage.trees.restore` also checks shapes
and dtypes.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.types import Array


def flatten(tree: Any) -> dict[str, Array]:
    """Returns the leaves of a tree by name: `{"0.w_x": ..., "0.w_h": ...}`.

    A name is the path to the leaf, joined by dots: fields of NamedTuples and keys of
    dictionaries by name, elements of tuples by position. A tree that is a single leaf
    has the name "value". Random keys become arrays of integers, and
    Python numbers become arrays.

    Raises:
      ValueError: if two leaves have the same name.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.storage.named_arrays import flatten
      >>> model = jrnn.Sequential(jrnn.Recurrent(jrnn.Elman(4)), jrnn.Dense(2))
      >>> sorted(flatten(model.init(jax.random.key(0), 3)))
      ['0.b_x', '0.w_h', '0.w_x', '1.b', '1.w']
    """
    leaves = map(_as_array, jax.tree.leaves(tree))
    return dict(zip(leaf_names(tree), leaves, strict=True))


def unflatten(like: Any, named: Mapping[str, Any]) -> Any:
    """Returns a tree with the structure of `like` and the leaves of these names.

    Args:
      like: A tree of arrays, or of shapes as `jax.eval_shape` returns them.
      named: One leaf for each leaf of `like`, named as by `flatten`.

    Raises:
      ValueError: if a name is missing or unknown.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.storage.named_arrays import flatten, unflatten
      >>> params = jrnn.GRU(4).init(jax.random.key(0), input_size=3)
      >>> unflatten(params, flatten(params)).w_x.shape
      (3, 12)
    """
    names = leaf_names(like)
    missing = sorted(set(names) - set(named))
    unknown = sorted(set(named) - set(names))
    if missing or unknown:
        raise ValueError(
            f"The names of the arrays must be {_shortened(sorted(names))}: "
            f"{_shortened(missing)} are missing and {_shortened(unknown)} are unknown. "
            "Pass the arrays of the same model."
        )
    return jax.tree.unflatten(jax.tree.structure(like), [named[name] for name in names])


def leaf_names(tree: Any) -> list[str]:
    """Returns the names that `flatten` gives to the leaves of a tree, in its order.

    Raises:
      ValueError: if two leaves have the same name.
    """
    names = [
        jax.tree_util.keystr(path, simple=True, separator=".") or "value"
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    ]
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(
            f"Two leaves of the tree have one name, {repeated}. Rename a dictionary "
            "key so that it contains no dot."
        )
    return names


def is_random_key(leaf: Any) -> bool:
    """Whether a leaf is a random key, as `jax.random.key` returns it."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _as_array(leaf: Any) -> Any:
    if is_random_key(leaf):
        return jax.random.key_data(leaf)
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf)


def _shortened(names: list[str]) -> str:
    return str(names[:8]) if len(names) <= 8 else f"{str(names[:8])[:-1]}, ...]"
