"""Factors and states of a linear recurrence, as tuples of real arrays.

A recurrence `h' = a h + b` needs two operations: to apply a factor to a state, and to
compose two factors. A ring defines both, on tuples of arrays called planes. Planes keep
the units on the last axis, where they vectorize, and hold complex numbers as two real
arrays: XLA compiles trees of complex numbers slowly and does not vectorize their loops
on a CPU.
"""

import jax.numpy as jnp
from jax import lax

from jrnn.numerics import along
from jrnn.types import Array, Shape
from jrnn.values import value

Planes = tuple[Array, ...]
FEW = 4  # coupled entries up to which every entry of a factor is a plane of its own


@value
class Units:
    """Blocks of k coupled entries: `a` has k * k planes by rows, `h` has k planes.

    For k = 1, every entry depends on itself only.
    """

    size: int = 1

    def apply(self, a: Planes, h: Planes) -> Planes:
        """Returns the product of factors and states."""
        k = self.size
        return tuple(
            sum((a[i * k + j] * h[j] for j in range(1, k)), a[i * k] * h[0])
            for i in range(k)
        )

    def compose(self, after: Planes, before: Planes) -> Planes:
        """Returns the factors of `before`, then `after`."""
        k = self.size
        columns = [self.apply(after, before[j::k]) for j in range(k)]
        return tuple(columns[j][i] for i in range(k) for j in range(k))

    def transpose(self, a: Planes) -> Planes:
        """Returns the transposed blocks."""
        k = self.size
        return tuple(a[j * k + i] for i in range(k) for j in range(k))

    def ones(self, like: Planes) -> Planes:
        """Returns factors that change nothing, of the shape of others."""
        k = self.size
        return tuple(
            jnp.ones_like(plane) if i % (k + 1) == 0 else jnp.zeros_like(plane)
            for i, plane in enumerate(like)
        )


@value
class Complex:
    """Complex numbers: real and imaginary part, for factors and states alike."""

    def apply(self, a: Planes, h: Planes) -> Planes:
        """Returns the product of factors and states."""
        return a[0] * h[0] - a[1] * h[1], a[0] * h[1] + a[1] * h[0]

    compose = apply

    def transpose(self, a: Planes) -> Planes:
        """Returns the conjugates: those are transposed as matrices of two rows."""
        return a[0], -a[1]

    def ones(self, like: Planes) -> Planes:
        """Returns factors that change nothing, of the shape of others."""
        return jnp.ones_like(like[0]), jnp.zeros_like(like[1])


@value
class Matrices:
    """Large blocks: `a` is one array [..., k, k] and `h` one array [..., k].

    Products have the highest precision: rounded to TF32, errors add up over time.
    """

    def apply(self, a: Planes, h: Planes) -> Planes:
        """Returns the product of factors and states."""
        exact = lax.Precision.HIGHEST
        return (jnp.einsum("...ij,...j->...i", a[0], h[0], precision=exact),)

    def compose(self, after: Planes, before: Planes) -> Planes:
        """Returns the factors of `before`, then `after`."""
        return (jnp.matmul(after[0], before[0], precision=lax.Precision.HIGHEST),)

    def transpose(self, a: Planes) -> Planes:
        """Returns the transposed blocks."""
        return (jnp.swapaxes(a[0], -1, -2),)

    def ones(self, like: Planes) -> Planes:
        """Returns factors that change nothing, of the shape of others."""
        size = like[0].shape[-1]
        zero = jnp.zeros_like(like[0])
        return (zero + along(jnp.eye(size, dtype=zero.dtype), zero),)


Ring = Units | Complex | Matrices


def blocks(size: int) -> Ring:
    """Returns the ring of blocks of so many coupled entries."""
    return Units(size) if size <= FEW else Matrices()


def split(a: Array, b: Array) -> tuple[Ring, Planes, Planes]:
    """Returns arrays as planes, and their ring.

    Args:
      a: Factors of the shape of `b`, or matrices with one axis more.
      b: Addends [...], or [..., k] for matrices [..., k, k].
    """
    if a.ndim > b.ndim:
        size = b.shape[-1]
        ring = blocks(size)
        if isinstance(ring, Matrices):
            return ring, (a,), (b,)
        places = range(size)
        rows = tuple(a[..., i, j] for i in places for j in places)
        return ring, rows, tuple(b[..., i] for i in places)
    if jnp.iscomplexobj(b):
        return Complex(), (a.real, a.imag), (b.real, b.imag)
    return Units(), (a,), (b,)


def join(ring: Ring, h: Planes, shape: Shape) -> Array:
    """Returns states of planes as one array of this shape."""
    if isinstance(ring, Complex):
        return lax.complex(*h)
    return (h[0] if len(h) == 1 else jnp.stack(h, axis=-1)).reshape(shape)
