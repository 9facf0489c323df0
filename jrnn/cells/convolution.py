"""Convolutions over signals, images and volumes, and the base of such cells."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells.affine import Gates, split
from jrnn.cells.base import PlainCell, zeros
from jrnn.numerics import along
from jrnn.types import Array, DType, Params, PRNGKey, Shape, State


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
    if len(batch) > 1 and _explicit():  # such axes cannot be merged
        how: Any = {"strides": strides, "padding": padding, "dilation": dilation}
        return jax.lax.map(lambda part: convolve(part, w, **how), x)
    out = jax.lax.conv_general_dilated(
        x.reshape(math.prod(batch), *x.shape[len(batch) :]),
        w,
        strides or (1,) * axes,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )
    return out.reshape(*batch, *out.shape[1:])


def _explicit() -> bool:
    """Whether the type of an array says how it is sharded."""
    types = jax.sharding.get_abstract_mesh().axis_types
    return jax.sharding.AxisType.Explicit in types


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


class ConvCell(PlainCell):
    """A cell of k gates on signals, images or volumes, with convolutions for matmuls.

    Inputs are [..., *spatial, F]; state and output are [..., *output_spatial, H].
    Subclasses have the fields annotated here, and define `blocks`, `params_type`,
    `state_type` and `form`.
    """

    hidden_size: int
    kernel_size: tuple[int, ...]
    spatial: tuple[int, ...]
    strides: tuple[int, ...] | None
    padding: str
    dilation: tuple[int, ...] | None
    bias: bool
    forget_bias: Any
    blocks: int
    remembers: tuple[int, ...]
    params_type: type[Any]
    state_type: type[Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        axes = len(self.kernel_size)
        checks.one_of("number of spatial axes", axes, [1, 2, 3])
        checks.one_of("padding", self.padding, ["valid", "same"])
        for name in ("spatial", "strides", "dilation"):
            sizes = getattr(self, name)
            if sizes is not None:
                checks.count(name, sizes, axes, "one per axis of kernel_size")
        checks.at_least("output_spatial", min(self.output_spatial), 1)

    @final
    @property
    def feature_axes(self) -> int:
        return len(self.kernel_size) + 1

    @final
    @property
    def output_size(self) -> int:
        return self.hidden_size

    @final
    @property
    def output_spatial(self) -> tuple[int, ...]:
        """Size of state and output along each spatial axis."""
        return output_spatial(
            self.spatial, self.kernel_size, self.strides, self.padding, self.dilation
        )

    def init(self, key: PRNGKey, input_size: int | Shape, dtype: DType = float) -> Any:
        """Draws parameters for inputs [..., *spatial, channels].

        Args:
          key: Source of randomness.
          input_size: The number of channels, or (*spatial, channels).
          dtype: The dtype of the parameters.

        Raises:
          ValueError: if `input_size` has other spatial sizes than the cell.
        """
        how = initializers.scheme("jrnn", "lstm")
        key_x, key_h, key_b = checks.split_key(key, 3)
        window, size, blocks = self.kernel_size, self.hidden_size, self.blocks
        channels, b_x = self._channels(input_size), None
        if self.bias:
            b_x = jnp.zeros(blocks * size, dtype)
            start = self.forget_bias or 0.0
            b_x = initializers.forget_gate(key_b, start, b_x, self.remembers)
        return self.params_type(
            w_x=draw(how.w_x, key_x, window, channels, size, blocks, dtype),
            w_h=draw(how.w_h, key_h, window, size, size, blocks, dtype),
            b_x=b_x,
        )

    @final
    def initial_state(self, params: Params, batch_shape: Shape = ()) -> Any:
        """Returns zeros of shape [*batch_shape, *output_spatial, H]."""
        shape = (*batch_shape, *self.output_spatial, self.hidden_size)
        leaves = self.state_type._fields
        return self.state_type(*[zeros(params.w_h, *shape) for _ in leaves])

    @final
    def project(self, params: Params, x: Array, *, key: PRNGKey | None = None) -> Gates:
        """Maps inputs [..., *spatial, F] to their contributions to the k gates."""
        del key
        expected = (*self.spatial, params.w_x.shape[-2])
        if x.shape[-self.feature_axes :] != expected:
            raise ValueError(
                f"xs must end with the axes {list(expected)} (spatial sizes of the "
                f"cell, channels), but their shape is {list(x.shape)}."
            )
        padding = self.padding.upper()
        how: Any = {"strides": self.strides, "dilation": self.dilation}
        u = convolve(x, params.w_x, padding=padding, **how)
        for bias in (params.b_x, params.b_h):
            if bias is not None and bias.shape == u.shape[-1:]:  # of all gates
                u = u + along(bias, u)
        return split(u, self.blocks)

    @final
    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns h [..., *output_spatial, H]."""
        del params, u
        return state.h

    def _channels(self, input_size: int | Shape) -> int:
        """Returns the number of input channels."""
        *spatial, channels = checks.sizes("input_size", input_size)
        if spatial and tuple(spatial) != self.spatial:
            raise ValueError(
                f"input_size is {(*spatial, channels)}, but the cell is made for "
                f"inputs of spatial={self.spatial}."
            )
        return channels
