"""Trees of which only some leaves have a tangent."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jrnn.types import Array


def instantiate(primal: Array, tangent: Any) -> Array:
    """Returns the tangent as an array that lies where its primal does."""
    if not _is_zero(tangent):
        return tangent
    return jnp.where(False, primal, jnp.zeros_like(primal))


def varying(tangents: Any) -> tuple[list[bool], list[Array]]:
    """Returns which leaves have a tangent, and these tangents."""
    leaves = jax.tree.leaves(tangents, is_leaf=_is_zero)
    flags = [not _is_zero(leaf) for leaf in leaves]
    return flags, [leaf for leaf in leaves if not _is_zero(leaf)]


def pick(tree: Any, flags: list[bool]) -> list[Array]:
    """Returns the flagged leaves of a tree."""
    return [a for a, flag in zip(jax.tree.leaves(tree), flags, strict=True) if flag]


def put(tree: Any, flags: list[bool], picked: list[Array]) -> Any:
    """Returns the tree with its flagged leaves replaced."""
    leaves, structure = jax.tree.flatten(tree)
    fill = iter(picked)
    merged = [next(fill) if f else a for a, f in zip(leaves, flags, strict=True)]
    return jax.tree.unflatten(structure, merged)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)
