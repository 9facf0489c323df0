"""Trees of which only some leaves have a tangent."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jrnn.types import Array


class Varying:
    """Which leaves of a tree have a tangent, in the order of `jax.tree.leaves`."""

    def __init__(self, tangents: Any):
        leaves = jax.tree.leaves(tangents, is_leaf=_is_zero)
        self.flags = [not _is_zero(leaf) for leaf in leaves]
        self.tangents = [leaf for leaf in leaves if not _is_zero(leaf)]

    def pick(self, tree: Any) -> list[Array]:
        """Returns the leaves that have a tangent."""
        leaves = zip(jax.tree.leaves(tree), self.flags, strict=True)
        return [leaf for leaf, varies in leaves if varies]

    def put(self, tree: Any, picked: list[Array]) -> Any:
        """Returns the tree with those leaves replaced."""
        leaves, structure = jax.tree.flatten(tree)
        fill = iter(picked)
        pairs = zip(leaves, self.flags, strict=True)
        merged = [next(fill) if varies else leaf for leaf, varies in pairs]
        return jax.tree.unflatten(structure, merged)


def instantiate(primal: Array, tangent: Any) -> Array:
    """Returns the tangent as an array with the sharding of its primal."""
    if not _is_zero(tangent):
        return tangent
    return jnp.where(False, primal, jnp.zeros_like(primal))


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)
