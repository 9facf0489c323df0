"""Checks the structure that a cell declares against its derivatives."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.forms import Gated, Linear
from jrnn.numerics import along
from jrnn.types import Array, Cell, Params, State


def check_structure(
    cell: Cell,
    params: Params,
    *,
    input_size: int | None = None,
    draws: int = 3,
    tolerance: float = 1e-4,
) -> None:
    """Checks that the step of a cell has the structure that its form declares.

    Kernels, gradients and diagnostics trust the form. At random states and inputs, and
    along random directions v, this compares derivatives of a step with what the form
    implies:

        diagonal, block    J v unit by unit, from one derivative per leaf of the state
        linear             the same, and J does not depend on the state
        local              each parameter affects only one unit, that of its last axis

    A form that is dense and not gated declares nothing and passes.

    Args:
      cell: The cell to check.
      params: Its parameters. Use random values, because zeros hide what they multiply.
      input_size: The number of input features; None for the number of rows of the
        first matrix in `params`.
      draws: The number of random points.
      tolerance: The largest difference of derivatives, relative to the largest
        derivative.

    Raises:
      ValueError: if a derivative differs from what the form implies.

    Example:
      >>> import jax, jrnn
      >>> cell = jrnn.IndRNN(hidden_size=4)
      >>> jrnn.check_structure(cell, cell.init(jax.random.key(0), input_size=3))
    """
    form = cell.form
    local = form.local and (isinstance(form, Gated) or form.structure != "dense")
    if form.structure == "dense" and not local:
        return
    rng = np.random.default_rng(0)
    size = _rows(params) if input_size is None else input_size
    state = cell.initial_state(params)
    _require_alike(cell, state, local)
    prepared = cell.prepare(params)
    for _ in range(draws):
        x = _random_like(rng, np.zeros(size, jax.tree.leaves(params)[0].dtype))
        here, there, v = (_random_like(rng, state) for _ in range(3))
        if form.structure != "dense":
            u = cell.project(prepared, x)
            _check_jacobian(cell, prepared, (here, there, v), u, tolerance)
        if local:
            change = _random_like(rng, prepared)
            _check_local(cell, prepared, here, x, change, tolerance)


def sums_by_unit(function: Any, params: Params) -> tuple[Params, ...]:
    """Returns, for each leaf of `function(params)`, the gradient of its sum.

    Where a parameter reaches only one unit, that is the derivative of this unit.
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
    """Returns the effect of a change of the parameters on each unit, [*batch, H].

    Args:
      traces: Effect of each parameter on its unit, [*batch, *shape of the parameter].
      change: The change, with the shapes of the parameters.
      leaf: A leaf of the state, for its shape [*batch, H].
    """
    *batch, size = leaf.shape
    total = jnp.zeros_like(leaf)
    for trace, by in zip(jax.tree.leaves(traces), jax.tree.leaves(change), strict=True):
        if by.ndim and not by.shape[-1] % size:
            effect = trace * along(by, trace)
            effect = jnp.sum(effect, axis=tuple(range(len(batch), effect.ndim - 1)))
            total = total + jnp.sum(effect.reshape(*batch, -1, size), axis=-2)
    return total


def _require_alike(cell: Cell, state: State, local: bool) -> None:
    """Raises unless the state has the leaves that the form speaks of."""
    structure = cell.structure
    shapes = [leaf.shape for leaf in jax.tree.leaves(state)]
    number = structure[1] if isinstance(structure, tuple) else len(shapes)
    by_unit = local or structure not in ("dense", "linear")
    if by_unit and (len(set(shapes)) != 1 or number != len(shapes)):
        raise ValueError(
            f"{cell} declares the structure {structure!r}, which is about leaves of "
            "one shape, one for each coupled entry of a unit, but the leaves of its "
            f"state have the shapes {[list(shape) for shape in shapes]}. Other shapes "
            "need `local=False`."
        )


def _check_jacobian(
    cell: Cell, params: Params, points: tuple[State, State, State], u: Any, tol: float
) -> None:
    """Compares J v with the sum over leaves of (J applied to ones) * v."""
    actual, expected, elsewhere = _jacobian(cell, params, points, u)
    why = "couples units or leaves that it declares independent"
    _compare(cell, why, actual, expected, tol)
    if cell.structure == "linear":
        why = "has a Jacobian that depends on the state"
        _compare(cell, why, elsewhere, actual, tol)


@functools.partial(jax.jit, static_argnums=0)
def _jacobian(
    cell: Cell, params: Params, points: tuple[State, State, State], u: Any
) -> tuple[State, State, State]:
    """Returns J v, what the structure implies for it, and J v at another state."""
    here, there, v = points
    pair = isinstance(cell.form, Linear) and cell.form.pair
    coupled = pair or isinstance(cell.structure, tuple)

    def derivative(state: State, v: State) -> State:
        return jax.jvp(lambda s: cell.step(params, s, u), (state,), (v,))[1]

    leaves, structure = jax.tree.flatten(v)
    implied = [jnp.zeros_like(leaf) for leaf in leaves]
    for b, ones in enumerate(leaves_of_ones(here)):
        column = jax.tree.leaves(derivative(here, ones))
        for a, entry in enumerate(column):
            if coupled or a == b:
                implied[a] = implied[a] + entry * leaves[b]
    expected = jax.tree.unflatten(structure, implied)
    return derivative(here, v), expected, derivative(there, v)


def _check_local(
    cell: Cell, params: Params, state: State, x: Array, change: Params, tol: float
) -> None:
    """Compares a derivative in the parameters with the sum of those by unit."""
    moved, implied = _in_parameters(cell, params, state, x, change)
    why = "has parameters that reach other units than that of their last axis"
    _compare(cell, why, moved, implied, tol)


@functools.partial(jax.jit, static_argnums=0)
def _in_parameters(
    cell: Cell, params: Params, state: State, x: Array, change: Params
) -> tuple[State, State]:
    """Returns the effect of a change of the parameters, in full and unit by unit."""
    step = lambda p: cell.step(p, state, cell.project(p, x))  # noqa: E731
    _, moved = jax.jvp(step, (params,), (change,))
    leaves, structure = jax.tree.flatten(state)
    pairs = zip(sums_by_unit(step, params), leaves, strict=True)
    by_unit = [reach(traces, change, leaf) for traces, leaf in pairs]
    return moved, jax.tree.unflatten(structure, by_unit)


def _compare(cell: Cell, why: str, actual: Any, implied: Any, tol: float) -> None:
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(implied), strict=True)
    for a, b in pairs:
        a, b = np.asarray(a), np.asarray(b)
        gap, scale = float(np.max(np.abs(a - b))), float(np.max(np.abs(a)))
        if not gap <= tol * max(scale, 1.0):
            raise ValueError(
                f"{cell} declares the structure {cell.structure!r} but {why}: a "
                f"derivative is off by {gap:.2g} where the largest is {scale:.2g}. "
                "Declare what the step does: `jrnn.forms.Plain(step)` is always true, "
                "and `local=False` claims nothing about parameters."
            )


def _random_like(rng: Any, tree: Any) -> Any:
    def draw(a: Array) -> Array:
        return jax.device_put(rng.standard_normal(a.shape).astype(a.dtype))

    return jax.tree.map(draw, tree)


def _rows(params: Params) -> int:
    matrices = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    if not matrices:
        raise ValueError(
            "params contain no matrix to read the input size from: pass `input_size=`."
        )
    return matrices[0].shape[0]
