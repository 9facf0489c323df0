"""Recurrent weights made of a skew-symmetric matrix: orthogonal, or antisymmetric."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import checks, numerics
from jrnn.cells.wrapper_base import Wrapper
from jrnn.forms import Form
from jrnn.numerics import along
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape
from jrnn.values import value


def skew(packed: Array) -> Array:
    """Returns skew-symmetric matrices [..., n, n] from the entries below the diagonals.

    Example:
      >>> import jax.numpy as jnp
      >>> skew(jnp.array([3.0])).tolist()
      [[0.0, -3.0], [3.0, 0.0]]

    Args:
      packed: [..., n (n - 1) / 2], row by row.
    """
    size = (1 + math.isqrt(1 + 8 * packed.shape[-1])) // 2
    rows, columns = np.tril_indices(size, -1)
    empty = jnp.zeros((*packed.shape[:-1], size, size), packed.dtype)
    lower = empty.at[..., rows, columns].set(packed)
    return lower - jnp.swapaxes(lower, -1, -2)


def cayley(a: Array) -> Array:
    """Returns the orthogonal (I + A)^-1 (I - A) of skew-symmetric matrices A."""
    one = along(jnp.eye(a.shape[-1], dtype=a.dtype), a)
    return jnp.linalg.solve(one + a, one - a)


def expm(a: Array) -> Array:
    """Returns the orthogonal exponential of skew-symmetric matrices [..., n, n]."""
    flat = a.reshape(-1, *a.shape[-2:])
    return jax.vmap(jax.scipy.linalg.expm)(flat).reshape(a.shape)


# The map, how far a plane turns for an entry s, the largest angle of the first draw.
_MAPS: dict[str, Any] = {
    "cayley": (cayley, lambda angle: jnp.tan(angle / 2), (0.0, math.pi / 2)),
    "expm": (expm, lambda angle: angle, (-math.pi, math.pi)),
}


@value
class Orthogonal(Wrapper):
    """Keeps the recurrent weights of a cell orthogonal.

        W = (I + A)^-1 (I - A) D      "cayley" [1]
        W = exp(A) D                  "expm" [2]

    for each gate, with A skew-symmetric and D diagonal with entries 1 or -1. The
    parameter `w_h` is replaced by the entries below the diagonal of A, [k, H (H - 1) /
    2], which any optimizer can update without constraints. The weights are computed
    once per scan, outside the loop. A linear step preserves the norm of gradients; a
    gate or an activation can shrink it.

    A is initialized as rotations of H / 2 planes by random angles: uniform between 0
    and pi / 2 for "cayley" as in [1], and between -pi and pi for "expm" as in [2]. Both
    maps give matrices of determinant 1 times that of D.

    Attributes:
      cell: A cell with a parameter `w_h` [H, k*H], or [heads, H, k*H]: `ModReLURNN`,
        `Elman`, `LSTM`, `GRU`, `ResetBeforeGRU`, `MultiHead`, ...
      parametrization: "cayley", whose gradient is cheaper, or "expm".
      negative: The number of entries of D that are -1, at the end of the diagonal [1];
        None for 0. Without them, the Cayley transform cannot represent a matrix with an
        eigenvalue near -1.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Orthogonal(jrnn.Elman(hidden_size=4))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> w = cell.prepare(params).w_h
      >>> bool(jnp.allclose(w.T @ w, jnp.eye(4), atol=1e-6))
      True

    References:
      [1] Helfrich et al., 2018, https://arxiv.org/abs/1707.09520
      [2] Lezcano-Casado and Martínez-Rubio, 2019, https://arxiv.org/abs/1901.08428
    """

    cell: Cell
    parametrization: str = "cayley"
    negative: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("parametrization", self.parametrization, list(_MAPS))

    @property
    def form(self) -> Form:
        return self.cell.form._replace(local=False)  # an entry of A reaches all units

    def init(self, key: PRNGKey, input_size: Any, dtype: DType = float) -> Params:
        """Draws the parameters of the cell, and A for its recurrent weights.

        Raises:
          ValueError: if the cell has no recurrent weights `w_h` of square blocks.
        """
        key, key_a = checks.split_key(key)
        params = self.cell.init(key, input_size, dtype)
        checks.one_of("the recurrent weights of Orthogonal", "w_h", params._fields)
        heads, (size, width) = params.w_h.shape[:-2], (1, *params.w_h.shape)[-2:]
        state = jax.eval_shape(self.cell.initial_state, params)
        units = {leaf.shape[-1] for leaf in jax.tree.leaves(state)}
        if len(heads) > 1 or units != {math.prod(heads) * size} or width % size:
            raise ValueError(
                f"Orthogonal needs recurrent weights w_h [H, k*H], but those of "
                f"{self.cell} have the shape {list(params.w_h.shape)}."
            )
        if self.negative is not None and self.negative > size:
            raise ValueError(
                f"negative must be at most the {size} rows of w_h, got {self.negative}."
            )
        _, entry, (low, high) = _MAPS[self.parametrization]
        shape = (*heads, width // size, size // 2)
        angles = jax.random.uniform(key_a, shape, minval=low, maxval=high)
        row = 2 * np.arange(size // 2) + 1  # the planes (0, 1), (2, 3), ...
        at = row * (row - 1) // 2 + row - 1  # in the order of `skew`
        packed = jnp.zeros((*shape[:-1], size * (size - 1) // 2))
        packed = packed.at[..., at].set(entry(angles))
        return params._replace(w_h=packed.astype(dtype))

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Computes the recurrent weights, and prepares the parameters of the cell."""
        packed = params.w_h
        a = skew(packed.astype(numerics.wide(packed)))  # LAPACK has no half precision
        w = _MAPS[self.parametrization][0](a)
        if self.negative is not None:
            last = np.arange(a.shape[-1]) >= a.shape[-1] - self.negative
            w = jnp.where(last, -w, w)
        w = jnp.moveaxis(w.astype(packed.dtype), -3, -2)  # gates side by side
        params = params._replace(w_h=w.reshape(*w.shape[:-2], -1))
        return self.cell.prepare(params, key=key, batch_shape=batch_shape)
