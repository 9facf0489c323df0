"""Whether a cell keeps its word: its declared structure against its derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.types import Array, Cell, Params, State


def check_structure(
    cell: Cell,
    params: Params,
    *,
    input_size: int | None = None,
    draws: int = 3,
    tolerance: float = 1e-4,
) -> None:
    """Compares the structure that a cell declares with what its step does.

    Kernels, gradients and diagnostics trust `cell.structure`. At random states and
    inputs, and along random directions v, this compares the derivative of a step with
    the one that the structure implies:

        diagonal, block    J v by unit, from one derivative for each leaf of the state
        linear             the same, and J does not depend on the state
        all of these       each parameter reaches one unit, that of its last axis

    A dense cell promises nothing and passes.

    Args:
      cell: The cell on trial.
      params: Its parameters; take random ones, as zeros hide what they multiply.
      input_size: The number of input features; None for the number of rows of the
        first matrix in `params`.
      draws: How many random points are tried.
      tolerance: How far derivatives may differ, relative to the largest.

    Raises:
      ValueError: if the cell does other than it says.

    Example:
      >>> import jax, jrnn
      >>> cell = jrnn.IndRNN(hidden_size=4)
      >>> jrnn.check_structure(cell, cell.init(jax.random.key(0), input_size=3))
    """
    if cell.structure == "dense":
        return
    prepared = cell.prepare(params)
    rng = np.random.default_rng(0)
    size = _rows(params) if input_size is None else input_size
    _require_alike(cell, cell.initial_state(prepared))
    for _ in range(draws):
        x = _random_like(rng, jnp.zeros(size, jax.tree.leaves(params)[0].dtype))
        _check_point(cell, prepared, x, rng, tolerance)


def sums_by_unit(function: Any, params: Params) -> tuple[Params, ...]:
    """Returns, for each leaf of `function(params)`, the gradient of its sum.

    Where a parameter reaches one unit only, that is the derivative of this unit.
    """
    out, pull = jax.vjp(function, params)
    return tuple(pull(ones)[0] for ones in leaves_of_ones(out))


def leaves_of_ones(tree: Any) -> list[Any]:
    """Returns, for each leaf, a tree that is one there and zero elsewhere."""
    leaves, structure = jax.tree.flatten(tree)
    zeros = [jnp.zeros_like(leaf) for leaf in leaves]
    return [
        jax.tree.unflatten(
            structure, [*zeros[:a], jnp.ones_like(leaf), *zeros[a + 1 :]]
        )
        for a, leaf in enumerate(leaves)
    ]


def reach(traces: Params, change: Params, leaf: Array) -> Array:
    """Returns what a change of the parameters does to each unit, [*batch, H].

    Args:
      traces: What each parameter does to its unit, [*batch, *shape of the parameter].
      change: The change, with the shapes of the parameters.
      leaf: A leaf of the state, for its shape [*batch, H].
    """
    *batch, size = leaf.shape
    total = jnp.zeros_like(leaf)
    for trace, by in zip(jax.tree.leaves(traces), jax.tree.leaves(change), strict=True):
        if by.ndim and not by.shape[-1] % size:
            total = total + jnp.sum((trace * by).reshape(*batch, -1, size), axis=-2)
    return total


def _require_alike(cell: Cell, state: State) -> None:
    """Raises unless the state has the leaves that the structure speaks of."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(state)]
    number = cell.structure[1] if isinstance(cell.structure, tuple) else len(shapes)
    if len(set(shapes)) != 1 or number != len(shapes):
        raise ValueError(
            f"{cell} declares the structure {cell.structure!r}, which is about leaves "
            f"of one shape, one for each coupled number of a unit, but the leaves of "
            f"its state have the shapes {[list(shape) for shape in shapes]}."
        )


def _check_point(cell: Cell, params: Params, x: Array, rng: Any, tol: float) -> None:
    u = cell.project(params, x)
    state, other, v = (_random_like(rng, cell.initial_state(params)) for _ in range(3))

    def derivative(state: State, v: State) -> State:
        return jax.jvp(lambda s: cell.step(params, s, u), (state,), (v,))[1]

    columns = [derivative(state, ones) for ones in leaves_of_ones(state)]
    implied = jax.tree.map(jnp.zeros_like, v)
    for b, (column, scale) in enumerate(zip(columns, jax.tree.leaves(v), strict=True)):
        if cell.structure == "diagonal":  # leaves are not coupled either
            kept = [jnp.ones_like(w) * (a == b) for a, w in _numbered(column)]
            column = jax.tree.map(jnp.multiply, column, _like(column, kept))
        implied = jax.tree.map(lambda t, c, s=scale: t + c * s, implied, column)
    actual = derivative(state, v)
    _compare(cell, "moves units that it says are not coupled", actual, implied, tol)
    if cell.structure == "linear":
        there = derivative(other, v)
        _compare(cell, "has a derivative that depends on the state", there, actual, tol)

    change = _random_like(rng, params)
    step = lambda p: cell.step(p, state, cell.project(p, x))  # noqa: E731
    _, moved = jax.jvp(step, (params,), (change,))
    by_unit = [
        reach(traces, change, leaf)
        for traces, leaf in zip(
            sums_by_unit(step, params), jax.tree.leaves(state), strict=True
        )
    ]
    why = "has parameters that reach other units than that of their last axis"
    _compare(cell, why, moved, _like(moved, by_unit), tol)


def _compare(cell: Cell, why: str, actual: Any, implied: Any, tol: float) -> None:
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(implied), strict=True)
    for a, b in pairs:
        gap, scale = float(jnp.max(jnp.abs(a - b))), float(jnp.max(jnp.abs(a)))
        if not gap <= tol * max(scale, 1.0):
            raise ValueError(
                f"{cell} declares the structure {cell.structure!r} but {why}: a "
                f"derivative is off by {gap:.2g} where the largest is {scale:.2g}. "
                "Declare what the step does; 'dense' is always true."
            )


def _numbered(tree: Any) -> Any:
    return enumerate(jax.tree.leaves(tree))


def _like(tree: Any, leaves: list[Array]) -> Any:
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _random_like(rng: Any, tree: Any) -> Any:
    def draw(a: Array) -> Array:
        return jnp.asarray(rng.standard_normal(a.shape), a.dtype)

    return jax.tree.map(draw, tree)


def _rows(params: Params) -> int:
    matrices = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    if not matrices:
        raise ValueError("There is no matrix in params: say `input_size=`.")
    return matrices[0].shape[0]
