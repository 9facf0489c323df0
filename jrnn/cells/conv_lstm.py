"""Long short-term memory over signals, images or volumes."""

from typing import NamedTuple

import jax.numpy as jnp

from jrnn.cells import activations
from jrnn.cells.affine import Gates
from jrnn.cells.convolution import ConvCell, Convolution
from jrnn.cells.lstm import LSTM_REMEMBERS, LSTMState
from jrnn.forms import Gated
from jrnn.types import Activation, Array, DType, GateBias, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class ConvLSTMParams(NamedTuple):
    """Arrays of a convolutional LSTM with F input channels and H channels.

    K stands for the spatial axes of the weights. The gates are concatenated along the
    last axis, in the order i, f, g, o.
    """

    w_x: Array  # [*K, F, 4H] input to gates
    w_h: Array  # [*K, H, 4H] state to gates
    b_x: Array | None  # [4H] bias of the gates
    b_h: Array | None = None  # [4H] second bias, of the state's convolution


@value
class ConvLSTM(ConvCell):
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
      separate_biases: Whether there are two biases, one for each convolution.
      forget_bias: Initial bias of the forget gate; a number, or a function that draws
        it for each channel, as in `LSTM`. None is zero.

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
    forget_bias: float | GateBias | None = init_only(1.0)

    blocks = 4
    remembers = LSTM_REMEMBERS
    params_type = ConvLSTMParams
    state_type = LSTMState

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Convolution(params.w_h),
            update=self._update,
            gates=self._gates,
            local=False,  # a convolution reaches many units
        )

    def init(
        self, key: PRNGKey, input_size: int | Shape, dtype: DType = float
    ) -> ConvLSTMParams:
        """Draws parameters for inputs [..., *spatial, channels].

        Args:
          key: Source of randomness.
          input_size: The number of channels, or (*spatial, channels).
          dtype: The dtype of the parameters.

        Raises:
          ValueError: if `input_size` has other spatial sizes than the cell.
        """
        params = super().init(key, input_size, dtype)
        if not self.separate_biases:
            return params
        return params._replace(b_h=jnp.zeros_like(params.b_x))

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
