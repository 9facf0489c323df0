"""Parameters by name while they are traced, for libraries with flat dictionaries.

`trees` does the same for arrays on their way to a file.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax

from jrnn.types import Array, DType


def pack(tree: Any) -> dict[str, Array]:
    """Returns the leaves of a tree by name: `{"0.w_x": ..., "0.w_h": ...}`.

    A name is the path to the leaf: fields by name, entries of tuples by number.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import leaves
      >>> model = jrnn.Sequential(jrnn.Recurrent(jrnn.Elman(4)), jrnn.Dense(2))
      >>> sorted(leaves.pack(model.init(jax.random.key(0), 3)))
      ['0.b_x', '0.w_h', '0.w_x', '1.b', '1.w']
    """
    return {
        jax.tree_util.keystr(path, simple=True, separator=".") or "value": leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def unpack(like: Any, named: Mapping[str, Any]) -> Any:
    """Puts leaves that `pack` named back into a tree with the structure of `like`.

    Raises:
      ValueError: if a name is missing or means nothing.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import leaves
      >>> params = jrnn.GRU(4).init(jax.random.key(0), input_size=3)
      >>> leaves.unpack(params, leaves.pack(params)).w_x.shape
      (3, 12)
    """
    names = list(pack(like))
    if set(names) != set(named):
        missing, unknown = set(names) - set(named), set(named) - set(names)
        raise ValueError(
            f"The leaves must be named {sorted(names)}; {sorted(missing)} are missing "
            f"and {sorted(unknown)} mean nothing here."
        )
    return jax.tree.unflatten(jax.tree.structure(like), [named[name] for name in names])


def outline(maker: Any, input_size: int, dtype: DType) -> Any:
    """Returns shapes and dtypes of the parameters of a cell or layer, drawing none."""
    wide = jax.config.read("jax_enable_x64")  # it decides what a dtype means
    return _outline(maker, input_size, dtype, wide)


@functools.lru_cache(maxsize=256)
def _outline(maker: Any, input_size: int, dtype: DType, wide: bool) -> Any:
    del wide
    return jax.eval_shape(lambda: maker.init(jax.random.key(0), input_size, dtype))


def input_size(xs: Any) -> int:
    """Returns the number of features of inputs [..., features]; 0 for integer ids."""
    first = jax.tree.leaves(xs)[0]
    floating = jax.numpy.issubdtype(first.dtype, jax.numpy.inexact)
    return first.shape[-1] if floating else 0
