"""Long short-term memory over signals, images or volumes."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, add, split
from jrnn.cells.lstm import LSTMState
from jrnn.types import Activation, Array, DType, PRNGKey, Shape, exportable, value


@exportable
class ConvLSTMParams(NamedTuple):
    """Arrays of a convolutional LSTM with F input channels and H filters.

    K stands for the axes of the kernel. The gates lie side by side along the last axis,
    in the order i, f, g, o.
    """

    w_x: Array  # [*K, F, 4H] input to gates
    w_h: Array  # [*K, H, 4H] state to gates
    b_x: Array | None  # [4H] bias of the gates
    b_h: Array | None = None  # [4H] second bias, of the state's convolution


@value
class ConvLSTM:
    """LSTM whose products are convolutions, in 1, 2 or 3 dimensions [1].

        i  = gate(x * Wxi + bi + h * Whi)              input gate; * is a convolution
        f  = gate(x * Wxf + bf + h * Whf)              forget gate
        g  = activation(x * Wxg + bg + h * Whg)        candidate
        o  = gate(x * Wxo + bo + h * Who)              output gate
        c' = f c + i g
        h' = o activation(c')

    Inputs are [*batch, time, *spatial, channels]. Strides, padding and dilation are
    those of the input's convolution; that of the state keeps its size, with stride 1
    and "same" padding. Convolutions do not flip the kernel. There are no peepholes. The
    state is an `LSTMState` of images.

    Attributes:
      filters: The number H of channels of state and output.
      kernel_size: Size of the kernels along each spatial axis.
      spatial: Size of the inputs along each spatial axis: (rows, columns) of images.
      strides: Strides of the input's convolution, one per axis; None for 1.
      padding: "valid" or "same".
      dilation: Dilation of the kernel over the input, one per axis; None for 1.
      gate: Activation of the gates.
      activation: Activation of the candidate and of the memory on its way out.
      bias: "single"; "double" for one per convolution; None for none.
      forget_bias: What the forget gate's bias starts at.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ConvLSTM(filters=4, kernel_size=(3, 3), spatial=(8, 6))
      >>> params = cell.init(jax.random.key(0), input_size=2)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 8, 6, 2)))
      >>> ys.shape  # [batch, time, rows, columns, filters]
      (2, 5, 6, 4, 4)

    References:
      [1] Shi et al., 2015, https://arxiv.org/abs/1506.04214
    """

    filters: int
    kernel_size: tuple[int, ...]
    spatial: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    padding: str = "valid"
    dilation: tuple[int, ...] | None = None
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: str | None = "single"
    forget_bias: float = 1.0

    structure = "dense"

    @property
    def feature_axes(self) -> int:
        return len(self.kernel_size) + 1

    @property
    def output_size(self) -> int:
        return self.filters

    @property
    def output_spatial(self) -> tuple[int, ...]:
        """Size of state and output along each spatial axis."""
        ones = (1,) * len(self.kernel_size)
        sizes = []
        for size, kernel, stride, dilation in zip(
            self.spatial,
            self.kernel_size,
            self.strides or ones,
            self.dilation or ones,
            strict=True,
        ):
            lost = (kernel - 1) * dilation if self.padding == "valid" else 0
            sizes.append(math.ceil((size - lost) / stride))
        return tuple(sizes)

    def init(
        self, key: PRNGKey, input_size: int | Shape, dtype: DType = jnp.float32
    ) -> ConvLSTMParams:
        """Draws parameters for inputs [..., *spatial, channels].

        Args:
          key: Source of randomness.
          input_size: The number of channels, or (*spatial, channels).
          dtype: Of the parameters.

        Raises:
          ValueError: if the sizes do not fit each other.
        """
        channels = self._channels(input_size)
        how = initializers.scheme("jrnn", "lstm")
        key_x, key_h = jax.random.split(key)
        w_x, w_h = (
            self._kernel(draw, each, fan_in, dtype)
            for draw, each, fan_in in (
                (how.w_x, key_x, channels),
                (how.w_h, key_h, self.filters),
            )
        )
        zeros = jnp.zeros(4 * self.filters, dtype)
        b_x = zeros.at[self.filters : 2 * self.filters].set(self.forget_bias)
        return ConvLSTMParams(
            w_x=w_x,
            w_h=w_h,
            b_x=None if self.bias is None else b_x,
            b_h=zeros if self.bias == "double" else None,
        )

    def initial_state(
        self, params: ConvLSTMParams, batch_shape: Shape = ()
    ) -> LSTMState:
        """Returns zeros of shape [*batch_shape, *output_spatial, H]."""
        shape = (*batch_shape, *self.output_spatial, self.filters)
        zeros = jnp.zeros(shape, params.w_h.dtype)
        return LSTMState(h=zeros, c=zeros)

    def prepare(
        self,
        params: ConvLSTMParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> ConvLSTMParams:
        """Returns the parameters as they are."""
        del key, batch_shape
        return params

    def project(
        self, params: ConvLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., *spatial, F] to their shares of i, f, g and o."""
        del key
        expected = (*self.spatial, params.w_x.shape[-2])
        if x.shape[-self.feature_axes :] != expected:
            raise ValueError(
                f"xs must end with the axes {list(expected)} (spatial sizes of the "
                f"cell, channels), but their shape is {list(x.shape)}."
            )
        padding = self.padding.upper()
        u = _convolve(x, params.w_x, self.strides, padding, self.dilation)
        for bias in (params.b_x, params.b_h):
            u = u if bias is None else u + bias
        return split(u, 4)

    def step(self, params: ConvLSTMParams, state: LSTMState, u: Gates) -> LSTMState:
        """Returns the next state."""
        i, f, g, o = add(u, _convolve(state.h, params.w_h, None, "SAME", None))
        c = self.gate(f) * state.c + self.gate(i) * self.activation(g)
        return LSTMState(h=self.gate(o) * self.activation(c), c=c)

    def read(self, params: ConvLSTMParams, state: LSTMState, u: Gates) -> Array:
        """Returns h [..., *output_spatial, H]."""
        del params, u
        return state.h

    def _kernel(
        self, draw: initializers.Draw, key: PRNGKey, channels: int, dtype: DType
    ) -> Array:
        """Draws a kernel [*K, channels, 4H] as the matrix of its window."""
        window = math.prod(self.kernel_size) * channels
        matrix = draw(key, window, self.filters, 4, dtype)
        return matrix.reshape(*self.kernel_size, channels, 4 * self.filters)

    def _channels(self, input_size: int | Shape) -> int:
        """Checks all sizes, and returns the number of input channels."""
        axes = len(self.kernel_size)
        checks.one_of("number of spatial axes", axes, [1, 2, 3])
        checks.one_of("padding", self.padding, ["valid", "same"])
        checks.one_of("bias", self.bias, ["single", "double", None])
        for name in ("spatial", "strides", "dilation"):
            value = getattr(self, name)
            if value is not None:
                checks.count(name, value, axes, "one per axis of kernel_size")
        checks.at_least("output_spatial", min(self.output_spatial), 1)
        if isinstance(input_size, int):
            return input_size
        if tuple(input_size[:-1]) != self.spatial:
            raise ValueError(
                f"input_size is {tuple(input_size)}, but the cell is made for inputs "
                f"of spatial={self.spatial}."
            )
        return input_size[-1]


def _convolve(
    x: Array,
    kernel: Array,
    strides: tuple[int, ...] | None,
    padding: str,
    dilation: tuple[int, ...] | None,
) -> Array:
    """Convolves images [..., *spatial, F] with a kernel [*K, F, O]."""
    axes = kernel.ndim - 2
    letters = "DHW"[-axes:]
    images = x.reshape(-1, *x.shape[x.ndim - axes - 1 :])
    out = jax.lax.conv_general_dilated(
        images,
        kernel,
        strides or (1,) * axes,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )
    return out.reshape(*x.shape[: x.ndim - axes - 1], *out.shape[1:])
