"""Arrays that are split over the devices of a mesh as the data is.

Under an explicit mesh, and inside `shard_map`, the type of an array says how it is
split. New arrays, such as an initial state of zeros, are not split: these functions
give them the type of the data. Without such a mesh they change nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jrnn.numerics import wide


@jax.custom_jvp
def take_rows(table: Array, ids: Array) -> Array:
    """Returns `table[ids]`, [..., features], split over a mesh as the ids are.

    On an explicit mesh, JAX does not choose how the result is split. The gradient of a
    table in half precision is summed in float32: some ids occur very often.
    """
    split = jax.typeof(ids).sharding
    if split.mesh.empty:
        return table[ids]
    spec = jax.P(*split.spec, jax.typeof(table).sharding.spec[-1])
    return table.at[ids].get(out_sharding=spec)


@take_rows.defjvp
def _take_rows_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    table, ids = primals
    moved = tangents[0].astype(wide(table))
    return take_rows(table, ids), take_rows(moved, ids).astype(table.dtype)


def split_like(a: Array, like: Array) -> Array:
    """Shards an array over an explicit mesh like another, except axes of size one."""
    split = jax.typeof(like).sharding
    if split.mesh.empty:
        return a
    spec = zip(a.shape, split.spec, strict=True)
    return jax.sharding.reshard(a, jax.P(*(s if n > 1 else None for n, s in spec)))


def place_like(tree: Any, like: Any) -> Any:
    """Gives every array of a tree the type of the same array of another tree.

    Adding flags that are never set transfers the type, and XLA removes them. Under
    `jit`, the code that computed `like` is dead if the types agree. An array of another
    shape stays as it is.
    """

    def place(a: Array, like: Array) -> Array:
        same = jax.typeof(a).strip_weak_type() == jax.typeof(like).strip_weak_type()
        if same or a.shape != like.shape:
            return a
        return a + jnp.logical_and(like != like, False).astype(a.dtype)

    return jax.tree.map(place, tree, like)


def place_rows(tree: Any, xs: Any, axes: int) -> Any:
    """Splits the first axes of every array of a tree, the batch, as those of `xs`.

    An array without these axes, such as a counter, stays as it is, and so does a key.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    leaf = jax.tree.leaves(xs)[0]
    rows = jnp.any(leaf != leaf, axis=tuple(range(axes, leaf.ndim)))
    never = jnp.logical_and(rows, False)
    if jax.typeof(never) == jax.typeof(jnp.zeros(rows.shape, bool)):
        return tree

    def place(a: Array) -> Array:
        is_key = jnp.issubdtype(a.dtype, jax.dtypes.extended)
        if is_key or a.shape[:axes] != never.shape:
            return a
        spread = jnp.expand_dims(never, tuple(range(axes, a.ndim)))
        return a + jnp.broadcast_to(spread, a.shape).astype(a.dtype)

    return jax.tree.map(place, tree)


def refusal_if_split(tree: Any) -> str | None:
    """Says why a kernel for one device cannot run, if arrays are explicitly split."""
    specs = [jax.typeof(leaf).sharding.spec for leaf in jax.tree.leaves(tree)]
    if all(axis is None for spec in specs for axis in spec):
        return None
    return "does not split its work over a mesh: call it inside `jax.shard_map`"
