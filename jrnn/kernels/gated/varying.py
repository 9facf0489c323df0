"""Trees of which only some leaves have a tangent."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jrnn.types import Array


class Varying:
    """Which leaves of a tree have a tangent, in the order of `jax.tree.leaves`."""

    def __init__(self, tangents: Any):
        leaves = jax.tree.leaves(tangents)
        self.flags = [not isinstance(leaf, SymbolicZero) for leaf in leaves]
        self.tangents = self.pick(tangents)

    def pick(self, tree: Any) -> list[Array]:
        """Returns the leaves that have a tangent."""
        return list(itertools.compress(jax.tree.leaves(tree), self.flags))

    def put(self, tree: Any, picked: list[Array]) -> Any:
        """Returns the tree with those leaves replaced."""
        leaves, structure = jax.tree.flatten(tree)
        fill = iter(picked)
        pairs = zip(leaves, self.flags, strict=True)
        merged = [next(fill) if varies else leaf for leaf, varies in pairs]
        return jax.tree.unflatten(structure, merged)


def instantiate(primal: Array, tangent: Any) -> Array:
    """Returns the tangent as an array with the sharding of its primal."""
    if isinstance(tangent, SymbolicZero):
        return jnp.where(False, primal, jnp.zeros_like(primal))
    return tangent
