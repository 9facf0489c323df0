"""States of all steps as planes, and the Jacobians of all steps by few derivatives."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.forms import Structure
from jrnn.kernels.recurrence.rings import Matrices, Planes, Ring, Units, blocks
from jrnn.numerics import wide
from jrnn.types import Array, DType, State


class Frame(NamedTuple):
    """How the leaves of a state become planes of one dtype, and back.

    For a diagonal Jacobian or blocks of k, blocks couple the entries i of all k leaves:
    each leaf is a plane, or there is one plane [..., k] if k is large. For a dense
    Jacobian there is one plane [..., n] of all entries.
    """

    ring: Ring
    dense: bool  # whether each entry may depend on all entries
    like: State  # shapes and dtypes of the state of one example
    dtype: DType  # of the planes

    def pack(self, state: State) -> Planes:
        """Returns a state, with any leading axes, as planes."""
        leaves = [leaf.astype(self.dtype) for leaf in jax.tree.leaves(state)]
        if isinstance(self.ring, Units):
            return tuple(leaves)
        if not self.dense:
            return (jnp.stack(leaves, axis=-1),)
        flat = [
            leaf.reshape(*leaf.shape[: leaf.ndim - len(like.shape)], like.size)
            for leaf, like in zip(leaves, jax.tree.leaves(self.like), strict=True)
        ]
        return (jnp.concatenate(flat, axis=-1),)

    def unpack(self, planes: Planes) -> State:
        """Returns planes as a state."""
        like, structure = jax.tree.flatten(self.like)
        leaves = list(planes)
        if isinstance(self.ring, Matrices) and not self.dense:
            leaves = [planes[0][..., i] for i in range(len(like))]
        elif self.dense:
            ends = [sum(leaf.size for leaf in like[: i + 1]) for i in range(len(like))]
            parts = jnp.split(planes[0], ends[:-1], axis=-1)
            leaves = [
                part.reshape(*part.shape[:-1], *leaf.shape)
                for part, leaf in zip(parts, like, strict=True)
            ]
        cast = [a.astype(leaf.dtype) for a, leaf in zip(leaves, like, strict=True)]
        return jax.tree.unflatten(structure, cast)

    def linearize(
        self, step: Callable[[State], State], before: State
    ) -> tuple[Planes, Planes]:
        """Returns the states after steps, and the Jacobians of the steps.

        It takes 1 derivative along a direction for a diagonal Jacobian, k for blocks of
        k, and n for a dense one of n entries: a direction of ones in one leaf returns
        one column of every block.
        """
        after, along = jax.linearize(step, before)
        if not self.dense:
            columns = [self.pack(along(ones)) for ones in _directions(before)]
            rows = zip(*columns, strict=True)
            if isinstance(self.ring, Matrices):
                return self.pack(after), tuple(jnp.stack(row, axis=-1) for row in rows)
            return self.pack(after), tuple(entry for row in rows for entry in row)
        leading = jax.tree.leaves(before)[0].ndim - jax.tree.leaves(self.like)[0].ndim
        size = self.pack(before)[0].shape[-1]
        eye = jnp.eye(size, dtype=self.dtype).reshape(size, *(1,) * leading, size)

        def column(one: State) -> Planes:
            return self.pack(along(jax.tree.map(typed, one, before)))

        return self.pack(after), jax.vmap(column, out_axes=-1)(self.unpack((eye,)))


def typed(a: Array, like: Array) -> Array:
    """Broadcasts an array to the shape of another, and varies over devices as that."""
    return jnp.where(like == like, a, a)


def frame(structure: Structure, state: State, batch_axes: int) -> Frame:
    """Returns the planes of states [*batch, ...] whose Jacobian has a structure."""
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[batch_axes:], leaf.dtype), state
    )
    leaves = jax.tree.leaves(like)
    for name, leaf in checks.named_leaves("state", like).items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"{name} is {leaf.dtype}, but method='parallel' needs floating-point "
                "states, which have derivatives. Use method='scan'."
            )
    dtype = jnp.result_type(*(wide(leaf) for leaf in leaves))
    alike = len({leaf.shape for leaf in leaves}) == 1
    dense = structure == "dense" or not alike
    return Frame(Matrices() if dense else blocks(len(leaves)), dense, like, dtype)


def _directions(state: State) -> list[State]:
    """Returns, for each leaf, a tangent of ones there and zeros elsewhere."""
    leaves, structure = jax.tree.flatten(state)
    zeros = [jnp.zeros_like(leaf) for leaf in leaves]
    return [
        jax.tree.unflatten(
            structure, [*zeros[:i], jnp.ones_like(leaf), *zeros[i + 1 :]]
        )
        for i, leaf in enumerate(leaves)
    ]
