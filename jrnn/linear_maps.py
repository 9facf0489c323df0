"""Linear functions of a state, as pytrees of their weights."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

Array = jax.Array


class LinearMap(Protocol):
    """A linear function of the state [..., H], as a pytree of its weights.

    Example:
      >>> linear = Matmul(jnp.ones((2, 4)))
      >>> linear(jnp.ones(2)).tolist(), linear.diagonal().tolist()
      ([2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0])
    """

    def __call__(self, h: Array) -> Array:
        """Returns [..., k*H]."""

    def hoist(self) -> Callable[[Array], Array]:
        """Returns the same function with weights laid out for its transpose.

        The gradient applies the transpose in every step; the layout is made once.
        """

    def diagonal(self) -> Array:
        """Returns the weight of each unit on its own gates, [k*H]."""


class Matmul(NamedTuple):
    """h @ w."""

    w: Array  # [H, k*H]

    def __call__(self, h: Array) -> Array:
        return h @ self.w

    def hoist(self) -> Callable[[Array], Array]:
        """Transposes the matrix once.

        The backward loop then contracts its first axis. Contracting the last axis of a
        row-major matrix in every step takes up to ten times as long on a CPU.
        """
        transposed = self.w.T
        return lambda h: jnp.inner(h, transposed)

    def diagonal(self) -> Array:
        """Returns the diagonals of all gates, side by side."""
        size = self.w.shape[0]
        return jnp.einsum("jgj->gj", self.w.reshape(size, -1, size)).ravel()


class BlockDiagonal(NamedTuple):
    """Heads that do not mix: every head multiplies its own units.

    v[gate, head] = h[head] @ w[head, :, gate]
    """

    w: Array  # [heads, H / heads, k*H / heads], gates side by side within a head

    def __call__(self, h: Array) -> Array:
        heads, size, width = self.w.shape
        v = jnp.einsum(
            "...nd,nde->...ne", h.reshape(*h.shape[:-1], heads, size), self.w
        )
        v = v.reshape(*v.shape[:-1], width // size, size)
        return jnp.moveaxis(v, -2, -3).reshape(*h.shape[:-1], heads * width)

    def hoist(self) -> Callable[[Array], Array]:
        """Returns the map itself."""
        return self.__call__

    def diagonal(self) -> Array:
        """Returns the diagonals of all gates, side by side."""
        heads, size, width = self.w.shape
        blocks = self.w.reshape(heads, size, width // size, size)
        return jnp.einsum("njgj->gnj", blocks).ravel()


class Factored(NamedTuple):
    """h @ down @ up: a matrix of low rank."""

    down: Array  # [H, P]
    up: Array  # [P, k*H]

    def __call__(self, h: Array) -> Array:
        return h @ self.down @ self.up

    def hoist(self) -> Callable[[Array], Array]:
        """Transposes both matrices once, as `Matmul` does."""
        down, up = self.down.T, self.up.T
        return lambda h: jnp.inner(jnp.inner(h, down), up)

    def diagonal(self) -> Array:
        """Returns the diagonals of all gates, side by side."""
        size, rank = self.down.shape
        return jnp.einsum(
            "jp,pgj->gj", self.down, self.up.reshape(rank, -1, size)
        ).ravel()
