"""Clipping inside the backward pass, where a gradient explodes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.cells.forwarding import Forwarding
from jrnn.types import Array, Cell, DType, Params, PRNGKey, State, value


@value
class ClipCotangent(Forwarding):
    """Clips the gradient of the state at every step of the way back [1].

        forwards     s = s
        backwards    ds = clip(ds)       what reaches the state before a step

    A gradient that explodes over hundreds of steps is infinite before an optimiser can
    clip it: scaling infinity down gives zero or NaN. Clipped on its way back it stays
    finite, and earlier steps still get their share. The result is not the gradient of
    anything, but points where clipped descent should go.

    Reverse mode only, and a step of any structure counts as dense: a clipped gradient
    is not a product of Jacobians.

    Attributes:
      cell: What to compute in each step; values are unchanged.
      value: Clips each number to [-value, value], or:
      norm: scales the gradient of each example's state, all leaves together, down to
        this norm.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ClipCotangent(jrnn.GRU(hidden_size=4), norm=1.0)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> def loss(params):
      ...     return 1e6 * jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))[1].sum()
      >>> bool(jnp.isfinite(jax.grad(loss)(params).w_h).all())
      True

    References:
      [1] Graves, 2013, https://arxiv.org/abs/1308.0850
    """

    cell: Cell
    value: float | None = None
    norm: float | None = None

    structure = "dense"

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.value, self.norm) if bound is not None]
        if len(bounds) != 1:
            raise ValueError(
                "ClipCotangent clips by `value=` or by `norm=`: give one of them."
            )
        checks.positive("the bound of ClipCotangent", bounds[0])

    def init(self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32) -> Params:
        """Draws the parameters of the cell."""
        return self.cell.init(key, input_size, dtype)

    def step(self, params: Params, state: State, u: Any) -> State:
        """Returns the next state of the cell."""
        return self.cell.step(params, clip_gradient(self, state), u)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def clip_gradient(how: ClipCotangent, state: State) -> State:
    """Returns the state as it is; its gradient is clipped on the way back."""
    del how
    return state


def _forwards(how: ClipCotangent, state: State) -> tuple[State, None]:
    del how
    return state, None


def _backwards(how: ClipCotangent, _: None, gradient: State) -> tuple[State]:
    if how.value is not None:
        bound = how.value
        return (jax.tree.map(lambda g: jnp.clip(g, -bound, bound), gradient),)
    largest = how.norm or 0.0
    norm = _norm(gradient, how.cell.feature_axes)
    factor = largest / jnp.maximum(norm, largest)

    def scale(g: Array) -> Array:
        axes = (*norm.shape, *(1,) * (g.ndim - norm.ndim))
        return g * factor.reshape(axes).astype(g.dtype)

    return (jax.tree.map(scale, gradient),)


clip_gradient.defvjp(_forwards, _backwards)


def _norm(tree: Any, feature_axes: int) -> Array:
    """Returns the norm of each example's leaves together, in float32 at least."""
    total: Any = 0.0
    for leaf in jax.tree.leaves(tree):
        wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        axes = tuple(range(leaf.ndim - feature_axes, leaf.ndim))
        total = total + jnp.sum(jnp.square(wide), axis=axes)
    return jnp.sqrt(total)
