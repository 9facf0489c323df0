"""Jacobians of one state with respect to an earlier one, and their norms.

A state is one vector here: its leaves, flattened and joined in the order of
`jax.flatten_util.ravel_pytree`. h_0 is the state before the first step, h_t the one
after t steps. Jacobians of a state in half precision are in float32, as LAPACK needs.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jrnn import checks, numerics
from jrnn.diagnostics.replay import by_example, replay
from jrnn.types import Array, Cell, Params, State


def state_jacobians(cell: Cell, params: Params, state: State | None, xs: Any) -> Array:
    """Returns the Jacobian of every step: dh_t / dh_t-1 for t = 1, ..., T.

    Args:
      cell: The cell.
      params: Its parameters.
      state: State before the first step; None for the initial state.
      xs: Inputs [*batch, T, features].

    Returns:
      Matrices [*batch, T, n, n] for a state of n elements; rows belong to h_t.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LSTM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state_jacobians(cell, params, None, jnp.ones((2, 5, 3))).shape
      (2, 5, 8, 8)
    """

    def one(state: State | None, xs: Any) -> Array:
        steps = replay(cell, params, state, xs)
        return jax.vmap(assemble)(all_blocks(cell, steps))

    return by_example(one, cell, state, xs)


def jacobian_product(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    *,
    t: int | None = None,
    k: int = 0,
) -> Array:
    """Returns dh_t / dh_k, the product of the Jacobians of steps k + 1 to t.

        dh_t / dh_k = (dh_t / dh_t-1) ... (dh_k+1 / dh_k)

    Args:
      cell: The cell.
      params: Its parameters.
      state: State before the first step; None for the initial state.
      xs: Inputs [*batch, T, features].
      t: The later step; None for T.
      k: The earlier step; 0 is before the first.

    Returns:
      Matrices [*batch, n, n]; rows belong to h_t.

    Raises:
      TypeError: if `t` or `k` is not an integer.
      ValueError: unless 0 <= k <= t <= T.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(1, bias=False)
      >>> params = jrnn.cells.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), 0.5), None)
      >>> xs = jnp.array([[1.0], [0.0], [0.0]])
      >>> product = jacobian_product(cell, params, None, xs, t=3, k=1)
      >>> round(float(product[0, 0]), 6)
      0.209976
    """
    k = checks.integer("k", k, 0)
    if t is not None:
        t = checks.integer("t", t, 0)

    def one(state: State | None, xs: Any) -> Array:
        steps = replay(cell, params, state, xs)
        time = jax.tree.leaves(steps.after)[0].shape[0]
        end = time if t is None else t
        if not 0 <= k <= end <= time:
            raise ValueError(
                f"k and t must satisfy 0 <= k <= t <= {time} time steps of xs, got "
                f"k={k} and t={end}."
            )
        blocks = all_blocks(cell, steps)
        eye = jnp.zeros_like(blocks[0]) + jnp.eye(blocks.shape[-1], dtype=blocks.dtype)
        product, _ = jax.lax.scan(lambda p, j: (j @ p, None), eye, blocks[k:end])
        return assemble(product)

    return by_example(one, cell, state, xs)


def jacobian_norms(cell: Cell, params: Params, state: State | None, xs: Any) -> Array:
    """Returns the spectral norm of dh_t / dh_k for every pair of steps.

    It bounds how much any gradient can grow from step t back to step k. If a cell
    declares a diagonal or block structure, each unit is computed separately.

    Args:
      cell: The cell.
      params: Its parameters.
      state: State before the first step; None for the initial state.
      xs: Inputs [*batch, T, features].

    Returns:
      Norms [*batch, T + 1, T + 1], entry [t, k]; zero where k > t, one where k = t.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(4, activation=jrnn.activations.identity)
      >>> params = cell.init(jax.random.key(0), input_size=3)  # w_h is orthogonal
      >>> norms = jacobian_norms(cell, params, None, jnp.ones((5, 3)))
      >>> norms.shape, round(float(norms[5, 0]), 4)
      ((6, 6), 1.0)
    """

    def one(state: State | None, xs: Any) -> Array:
        blocks = all_blocks(cell, replay(cell, params, state, xs))
        time, units, size, _ = blocks.shape
        eye = jnp.broadcast_to(jnp.eye(size, dtype=blocks.dtype), (units, size, size))

        def body(products: Array, step: Any) -> tuple[Array, Array]:
            t, block = step
            products = (block @ products).at[t].set(eye)  # [T + 1, U, k, k], by k
            return products, spectral_norm(products)

        start = jnp.zeros((time + 1, *eye.shape), blocks.dtype).at[0].set(eye)
        _, norms = jax.lax.scan(body, start, (jnp.arange(1, time + 1), blocks))
        return jnp.concatenate([spectral_norm(start)[None], norms])

    return by_example(one, cell, state, xs)


def block_maker(cell: Cell, state: State) -> Callable[[Params, State, Any], Array]:
    """Returns a function from (params, state, u) to the blocks of the Jacobian.

    The Jacobian is [U, k, k]: for a cell with structure, k coupled elements for each of
    U units, by k forward derivatives; for a dense cell, one block that is all of it.
    The result is in float32 at least.
    """
    leaves = jax.tree.leaves(state)
    alike = len({leaf.shape for leaf in leaves}) == 1
    whole = cell.structure == "dense" or not alike
    jacobian = _dense if whole else _by_unit

    def blocks(params: Params, state: State, u: Any) -> Array:
        found = jacobian(cell, params, state, u)
        return found.astype(numerics.wide(found))

    return blocks


def assemble(blocks: Array) -> Array:
    """Returns the matrix [n, n] whose blocks these are, in the order of the leaves."""
    units, size, _ = blocks.shape
    eye = jnp.eye(units, dtype=blocks.dtype)
    return jnp.einsum("uab,uv->aubv", blocks, eye).reshape(units * size, units * size)


def _dense(cell: Cell, params: Params, state: State, u: Any) -> Array:
    flat, unravel = ravel_pytree(state)

    def step(h: Array) -> Array:
        return ravel_pytree(cell.step(params, unravel(h), u))[0]

    return jax.jacfwd(step)(flat)[None]


def _by_unit(cell: Cell, params: Params, state: State, u: Any) -> Array:
    leaves, structure = jax.tree.flatten(state)

    def column(index: int) -> Array:
        tangents = [jnp.zeros_like(leaf) for leaf in leaves]
        tangents[index] = jnp.ones_like(leaves[index])
        tangent = jax.tree.unflatten(structure, tangents)
        _, out = jax.jvp(lambda s: cell.step(params, s, u), (state,), (tangent,))
        return jnp.stack([leaf.reshape(-1) for leaf in jax.tree.leaves(out)], -1)

    return jnp.stack([column(i) for i in range(len(leaves))], axis=-1)


def all_blocks(cell: Cell, steps: Any) -> Array:
    """Returns the blocks of every step, [T, U, k, k]."""
    first = jax.tree.map(lambda leaf: leaf[0], steps.before)
    blocks = block_maker(cell, first)
    return jax.vmap(blocks, in_axes=(None, 0, 0))(steps.params, steps.before, steps.us)


def spectral_norm(blocks: Array) -> Array:
    """Returns the largest singular value of block-diagonal matrices [..., U, k, k]."""
    return jnp.max(jnp.linalg.norm(blocks, ord=2, axis=(-2, -1)), axis=-1)
