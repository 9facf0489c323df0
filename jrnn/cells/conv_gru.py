"""Gated recurrent unit over signals, images or volumes."""

from typing import NamedTuple

import jax.numpy as jnp

from jrnn.cells import activations
from jrnn.cells.affine import Gates, split
from jrnn.cells.convolution import ConvCell, Convolution, convolve
from jrnn.cells.gru import GRU_REMEMBERS, GRUState
from jrnn.forms import Form, Gated, Plain, add_gates
from jrnn.numerics import along
from jrnn.types import Activation, Array, DType, GateBias, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class ConvGRUParams(NamedTuple):
    """Arrays of a convolutional GRU with F input channels and H channels.

    K stands for the spatial axes of the weights. The gates are concatenated along the
    last axis, in the order r, z, n.
    """

    w_x: Array  # [*K, F, 3H] input to gates
    w_h: Array  # [*K, H, 3H] state to gates
    b_x: Array | None  # [3H] bias of the gates
    b_h: Array | None = None  # [H] bias under the reset gate


@value
class ConvGRU(ConvCell):
    """GRU with convolutions instead of matmuls, in 1, 2 or 3 dimensions [1].

        r  = gate(x * Wxr + br + h * Whr)                     reset gate
        z  = gate(x * Wxz + bz + h * Whz)                     update gate
        n  = activation(x * Wxn + bn + r (h * Whn + b_h))     * is a convolution
        h' = (1 - z) n + z h

    Inputs are [*batch, time, *spatial, channels]. Strides, padding and dilation
    apply to the convolution of the input. The convolution of the state has stride 1 and
    "same" padding, and keeps the size. Convolutions do not flip their weights. The
    state is a `GRUState` of images.

    The reset gate acts after the convolution of the state, as in `GRU`, and one
    convolution serves all three gates. With `reset_after=False` it acts before, as in
    the paper: n = activation(x * Wxn + bn + (r h) * Whn), and there is no `b_h`.

    Attributes:
      hidden_size: The number H of channels of state and output.
      kernel_size: Size of the convolution window along each spatial axis.
      spatial: Size of the inputs along each spatial axis: (rows, columns) of images.
      strides: Strides of the input's convolution, one per axis; None for 1.
      padding: "valid" or "same".
      dilation: Dilation of the convolution of the input, one per axis; None for 1.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      bias: Whether there is a bias.
      reset_after: Whether the reset gate acts after the convolution of the state.
      forget_bias: Initial bias of the update gate, as in `GRU`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ConvGRU(hidden_size=4, kernel_size=(3, 3), spatial=(8, 6))
      >>> params = cell.init(jax.random.key(0), input_size=2)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 8, 6, 2)))
      >>> ys.shape  # [batch, time, rows, columns, hidden]
      (2, 5, 6, 4, 4)

    References:
      [1] Ballas et al., 2016, https://arxiv.org/abs/1511.06432
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
    reset_after: bool = True
    forget_bias: float | GateBias | None = init_only(None)

    blocks = 3
    remembers = GRU_REMEMBERS
    params_type = ConvGRUParams
    state_type = GRUState

    @property
    def form(self) -> Form:
        if not self.reset_after:
            return Plain(self._step, gates=self._gates_before)
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Convolution(params.w_h),
            combine=self._combine,
            update=self._update,
            gates=self._gates,
            local=False,  # a convolution reaches many units
        )

    def init(
        self, key: PRNGKey, input_size: int | Shape, dtype: DType = float
    ) -> ConvGRUParams:
        """Draws parameters for inputs [..., *spatial, channels], as `ConvLSTM` does."""
        params = super().init(key, input_size, dtype)
        if not self.bias or not self.reset_after:
            return params
        return params._replace(b_h=jnp.zeros(self.hidden_size, dtype))

    def _combine(self, params: ConvGRUParams, u: Gates, v: Array) -> Gates:
        """Adds the contributions to r and z; those to n stay separate."""
        v_r, v_z, v_n = split(v, 3)
        v_n = v_n if params.b_h is None else v_n + along(params.b_h, v_n)
        return u[0] + v_r, u[1] + v_z, u[2], v_n

    def _update(self, params: ConvGRUParams, state: GRUState, p: Gates) -> GRUState:
        del params
        r, z, u_n, v_n = p
        n = self.activation(u_n + self.gate(r) * v_n)
        return GRUState(h=n + self.gate(z) * (state.h - n))

    def _gates(
        self, params: ConvGRUParams, state: GRUState, p: Gates
    ) -> dict[str, Array]:
        del params, state
        return {"r": self.gate(p[0]), "z": self.gate(p[1])}

    def _step(self, params: ConvGRUParams, state: GRUState, u: Gates) -> GRUState:
        gates = self._gates_before(params, state, u)
        w_n = params.w_h[..., 2 * self.hidden_size :]
        v_n = convolve(gates["r"] * state.h, w_n, padding="SAME")
        n = self.activation(u[2] + v_n)
        return GRUState(h=n + gates["z"] * (state.h - n))

    def _gates_before(
        self, params: ConvGRUParams, state: GRUState, u: Gates
    ) -> dict[str, Array]:
        w_rz = params.w_h[..., : 2 * self.hidden_size]
        v = convolve(state.h, w_rz, padding="SAME")
        r, z = add_gates(params, u[:2], v)
        return {"r": self.gate(r), "z": self.gate(z)}
