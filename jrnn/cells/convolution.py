"""Convolutions over signals, images and volumes, for convolutional cells."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax

from jrnn import initializers
from jrnn.types import Array, DType, PRNGKey


class Convolution(NamedTuple):
    """A convolution that keeps the spatial size, as the linear map of a gated form."""

    w: Array  # [*K, H, k*H]

    def __call__(self, h: Array) -> Array:
        return convolve(h, self.w, padding="SAME")

    def hoist(self) -> Callable[[Array], Array]:
        """Returns the map itself."""
        return self.__call__

    def diagonal(self) -> Array:
        """Raises: no weight belongs to one unit.

        Raises:
          TypeError: always.
        """
        raise TypeError("A convolution shares its weights between units.")


def convolve(
    x: Array,
    w: Array,
    *,
    strides: tuple[int, ...] | None = None,
    padding: str = "VALID",
    dilation: tuple[int, ...] | None = None,
) -> Array:
    """Convolves [..., *spatial, F] with weights [*K, F, O], which it does not flip."""
    axes = w.ndim - 2
    letters = "DHW"[-axes:]
    batch = x.shape[: x.ndim - axes - 1]
    out = jax.lax.conv_general_dilated(
        x.reshape(math.prod(batch), *x.shape[len(batch) :]),
        w,
        strides or (1,) * axes,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )
    return out.reshape(*batch, *out.shape[1:])


def output_spatial(
    spatial: tuple[int, ...],
    kernel_size: tuple[int, ...],
    strides: tuple[int, ...] | None,
    padding: str,
    dilation: tuple[int, ...] | None,
) -> tuple[int, ...]:
    """Returns the spatial sizes after a convolution, "valid" or "same"."""
    ones = (1,) * len(kernel_size)
    sizes = []
    for size, kernel, stride, dilated in zip(
        spatial, kernel_size, strides or ones, dilation or ones, strict=True
    ):
        lost = (kernel - 1) * dilated if padding == "valid" else 0
        sizes.append(math.ceil((size - lost) / stride))
    return tuple(sizes)


def draw(
    how: initializers.Draw,
    key: PRNGKey,
    kernel_size: tuple[int, ...],
    channels: int,
    size: int,
    blocks: int,
    dtype: DType,
) -> Array:
    """Draws weights [*K, channels, blocks * size] as the matrix of their window."""
    matrix = how(key, math.prod(kernel_size) * channels, size, blocks, dtype)
    return matrix.reshape(*kernel_size, channels, blocks * size)
