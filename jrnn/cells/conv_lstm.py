"""Long short-term memory over signals, images or volumes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations, convolution
from jrnn.cells.affine import Gates, split
from jrnn.cells.base import PlainCell, zeros
from jrnn.cells.lstm import LSTMState
from jrnn.forms import Gated
from jrnn.types import Activation, Array, DType, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class ConvLSTMParams(NamedTuple):
    """Arrays of a convolutional LSTM with F input channels and H channels.

    K stands for the spatial axes of the weights. The gates lie side by side along the
    last axis, in the order i, f, g, o.
    """

    w_x: Array  # [*K, F, 4H] input to gates
    w_h: Array  # [*K, H, 4H] state to gates
    b_x: Array | None  # [4H] bias of the gates
    b_h: Array | None = None  # [4H] second bias, of the state's convolution


@value
class ConvLSTM(PlainCell):
    """LSTM with convolutions instead of matmuls, in 1, 2 or 3 dimensions [1].

        i  = gate(x * Wxi + bi + h * Whi)              input gate; * is a convolution
        f  = gate(x * Wxf + bf + h * Whf)              forget gate
        g  = activation(x * Wxg + bg + h * Whg)        candidate
        o  = gate(x * Wxo + bo + h * Who)              output gate
        c' = f c + i g
        h' = o activation(c')

    Inputs are [*batch, time, *spatial, channels]. Strides, padding and dilation
    apply to the convolution of the input. The convolution of the state has stride 1 and
    "same" padding, and keeps the size. Convolutions do not flip their weights. There
    are no peepholes. The state is an `LSTMState` of images.

    Attributes:
      hidden_size: The number H of channels of state and output.
      kernel_size: Size of the convolution window along each spatial axis.
      spatial: Size of the inputs along each spatial axis: (rows, columns) of images.
      strides: Strides of the input's convolution, one per axis; None for 1.
      padding: "valid" or "same".
      dilation: Dilation of the convolution of the input, one per axis; None for 1.
      gate: Activation of the gates.
      activation: Activation of the candidate, and of the memory in the output.
      bias: Whether there is a bias.
      separate_biases: Whether there are two, one for each convolution.
      forget_bias: Initial bias of the forget gate.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ConvLSTM(hidden_size=4, kernel_size=(3, 3), spatial=(8, 6))
      >>> params = cell.init(jax.random.key(0), input_size=2)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 8, 6, 2)))
      >>> ys.shape  # [batch, time, rows, columns, hidden]
      (2, 5, 6, 4, 4)

    References:
      [1] Shi et al., 2015, https://arxiv.org/abs/1506.04214
    """

    hidden_size: int
    kernel_size: tuple[int, ...]
    spatial: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    padding: str = "valid"
    dilation: tuple[int, ...] | None = None
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True
    separate_biases: bool = False
    forget_bias: float = init_only(1.0)

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

    @property
    def feature_axes(self) -> int:
        return len(self.kernel_size) + 1

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    def output_spatial(self) -> tuple[int, ...]:
        """Size of state and output along each spatial axis."""
        return convolution.output_spatial(
            self.spatial, self.kernel_size, self.strides, self.padding, self.dilation
        )

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: convolution.Convolution(params.w_h),
            update=self._update,
            gates=self._gates,
            local=False,  # a convolution reaches many units
        )

    def init(
        self, key: PRNGKey, input_size: int | Shape, dtype: DType = jnp.float32
    ) -> ConvLSTMParams:
        """Draws parameters for inputs [..., *spatial, channels].

        Args:
          key: Source of randomness.
          input_size: The number of channels, or (*spatial, channels).
          dtype: Of the parameters.

        Raises:
          ValueError: if `input_size` has other spatial sizes than the cell.
        """
        how = initializers.scheme("jrnn", "lstm")
        key_x, key_h = jax.random.split(key)
        window, size, zero = self.kernel_size, self.hidden_size, None
        channels = self._channels(input_size)
        if self.bias:
            zero = jnp.zeros(4 * size, dtype)
        start = self.forget_bias
        return ConvLSTMParams(
            w_x=convolution.draw(how.w_x, key_x, window, channels, size, 4, dtype),
            w_h=convolution.draw(how.w_h, key_h, window, size, size, 4, dtype),
            b_x=initializers.forget_gate(how, start, zero, size),
            b_h=jnp.zeros(4 * size, dtype) if self.separate_biases else None,
        )

    def initial_state(
        self, params: ConvLSTMParams, batch_shape: Shape = ()
    ) -> LSTMState:
        """Returns zeros of shape [*batch_shape, *output_spatial, H]."""
        shape = (*batch_shape, *self.output_spatial, self.hidden_size)
        return LSTMState(h=zeros(params.w_h, *shape), c=zeros(params.w_h, *shape))

    def project(
        self, params: ConvLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., *spatial, F] to their contributions to i, f, g and o."""
        del key
        expected = (*self.spatial, params.w_x.shape[-2])
        if x.shape[-self.feature_axes :] != expected:
            raise ValueError(
                f"xs must end with the axes {list(expected)} (spatial sizes of the "
                f"cell, channels), but their shape is {list(x.shape)}."
            )
        u = convolution.convolve(
            x,
            params.w_x,
            strides=self.strides,
            padding=self.padding.upper(),
            dilation=self.dilation,
        )
        for bias in (params.b_x, params.b_h):
            u = u if bias is None else u + bias
        return split(u, 4)

    def read(self, params: ConvLSTMParams, state: LSTMState, u: Gates) -> Array:
        """Returns h [..., *output_spatial, H]."""
        del params, u
        return state.h

    def _update(self, params: ConvLSTMParams, state: LSTMState, p: Gates) -> LSTMState:
        del params
        i, f, g, o = p
        c = self.gate(f) * state.c + self.gate(i) * self.activation(g)
        return LSTMState(h=self.gate(o) * self.activation(c), c=c)

    def _gates(
        self, params: ConvLSTMParams, state: LSTMState, p: Gates
    ) -> dict[str, Array]:
        del params, state
        i, f, _, o = p
        return {"i": self.gate(i), "f": self.gate(f), "o": self.gate(o)}

    def _channels(self, input_size: int | Shape) -> int:
        """Returns the number of input channels."""
        if isinstance(input_size, int):
            return input_size
        if tuple(input_size[:-1]) != self.spatial:
            raise ValueError(
                f"input_size is {tuple(input_size)}, but the cell is made for inputs "
                f"of spatial={self.spatial}."
            )
        return input_size[-1]
