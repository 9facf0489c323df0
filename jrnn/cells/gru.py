"""Gated recurrent unit, with the reset gate after or before the matmul."""

from typing import NamedTuple

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import HiddenCell, draw, zeros
from jrnn.forms import Gated, Matmul, Plain, add_gates
from jrnn.numerics import along
from jrnn.types import Activation, Array, DType, GateBias, PRNGKey, Shape
from jrnn.values import exportable, init_only, value

GRU_REMEMBERS = (0, 1, 0)  # signs of the gates' biases, see `GatedCell`


@exportable
class GRUParams(NamedTuple):
    """Arrays of a GRU with F input features and H hidden units.

    The gates are concatenated along the last axis, in the order r, z, n.
    """

    w_x: Array  # [F, 3H] input to gates
    w_h: Array  # [H, 3H] state to gates
    b_x: Array | None  # [3H] bias of the gates
    b_h: Array | None = None  # [H] bias under the reset gate, or [3H] of all gates


@exportable
class GRUState(NamedTuple):
    """State of a GRU."""

    h: Array  # [..., H]


@value
class GRU(HiddenCell):
    """Gated recurrent unit [1] in the form that cuDNN and PyTorch compute [2].

        r  = gate(x Wxr + br + h Whr)                     reset gate
        z  = gate(x Wxz + bz + h Whz)                     update gate
        n  = activation(x Wxn + bn + r * (h Whn + b_h))   candidate
        h' = (1 - z) * n + z * h

    The reset gate acts after the matmul with the state, so one matmul computes all
    three gates. `ResetBeforeGRU` is the other variant; the weights of the two variants
    are not interchangeable. The output is the new state.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      bias: Whether there is one bias for each gate, and `b_h` [H].
      separate_biases: Whether `b_h` is [3H], as in PyTorch and Keras.
      forget_bias: Initial bias of the update gate, which keeps the state if it is near
        one; a number, or a function that draws it, as in `LSTM`. None is zero.
      scheme: How parameters are initialized: "jrnn" (LeCun-normal input, each gate of
        the state orthogonal, zero bias), "torch", "keras", "flax", "nnx" or "haiku".

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.GRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, hidden]
      (2, 5, 4)

    References:
      [1] Cho et al., 2014, https://arxiv.org/abs/1406.1078
      [2] Appleyard et al., 2016, https://arxiv.org/abs/1604.01946
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True
    separate_biases: bool = False
    forget_bias: float | GateBias | None = init_only(None)
    scheme: str = init_only("jrnn")

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Matmul(params.w_h),
            combine=self._combine,
            update=self._update,
            gates=self._gates,
        )

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> GRUParams:
        """Draws parameters for inputs [..., input_size]."""
        key, key_n = checks.split_key(key)
        params = GRUParams(*draw(self, key, "gru", input_size, 3, dtype, GRU_REMEMBERS))
        if self.separate_biases or not self.bias:
            return params
        scheme = initializers.scheme(self.scheme, "gru")
        b_n = initializers.biases(key_n, scheme, self.hidden_size, 1, dtype)
        return params._replace(b_h=b_n)

    def initial_state(self, params: GRUParams, batch_shape: Shape = ()) -> GRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        return GRUState(h=zeros(params.w_h, *batch_shape, self.hidden_size))

    def project(
        self, params: GRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to r, z and n, each [..., H]."""
        del key
        r, z, n = split(affine(x, params.w_x, params.b_x), 3)
        if params.b_h is not None and params.b_h.shape == params.w_x.shape[1:]:
            b_r, b_z, _ = split(params.b_h, 3)  # that of n stays under the reset gate
            r, z = r + along(b_r, r), z + along(b_z, z)
        return r, z, n

    def _combine(self, params: GRUParams, u: Gates, v: Array) -> Gates:
        """Adds the contributions to r and z; those to n stay separate."""
        u_r, u_z, u_n = u
        v_r, v_z, v_n = split(v, 3)
        if params.b_h is not None:
            v_n = v_n + along(params.b_h[-self.hidden_size :], v_n)
        return u_r + v_r, u_z + v_z, u_n, v_n

    def _update(self, params: GRUParams, state: GRUState, p: Gates) -> GRUState:
        del params
        r, z, u_n, v_n = p
        n = self.activation(u_n + self.gate(r) * v_n)
        return GRUState(h=n + self.gate(z) * (state.h - n))

    def _gates(self, params: GRUParams, state: GRUState, p: Gates) -> dict[str, Array]:
        del params, state
        return {"r": self.gate(p[0]), "z": self.gate(p[1])}


@value
class ResetBeforeGRU(HiddenCell):
    """Gated recurrent unit with the reset gate before the matmul of the state [1].

        r  = gate(x Wxr + br + h Whr)                 reset gate
        z  = gate(x Wxz + bz + h Whz)                 update gate
        n  = activation(x Wxn + bn + (r * h) Whn)     candidate
        h' = (1 - z) * n + z * h

    This is the variant of version 3 of the paper, of Haiku, of Keras with
    `reset_after=False`, and the default of ONNX. Its parameters are a `GRUParams` whose
    `b_h` is None.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      bias: Whether there is a bias.
      forget_bias: Initial bias of the update gate, as in `GRU`.
      scheme: How parameters are initialized, as in `GRU`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ResetBeforeGRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Cho et al., 2014, https://arxiv.org/abs/1406.1078v3
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True
    forget_bias: float | GateBias | None = init_only(None)
    scheme: str = init_only("jrnn")

    @property
    def form(self) -> Plain:
        return Plain(self._step, gates=self._gates)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> GRUParams:
        """Draws parameters for inputs [..., input_size]."""
        return GRUParams(*draw(self, key, "gru", input_size, 3, dtype, GRU_REMEMBERS))

    def initial_state(self, params: GRUParams, batch_shape: Shape = ()) -> GRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        return GRUState(h=zeros(params.w_h, *batch_shape, self.hidden_size))

    def project(
        self, params: GRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to r, z and n, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), 3)

    def _step(self, params: GRUParams, state: GRUState, u: Gates) -> GRUState:
        gates = self._gates(params, state, u)
        w_n = params.w_h[:, 2 * self.hidden_size :]
        n = self.activation(u[2] + (gates["r"] * state.h) @ w_n)
        return GRUState(h=n + gates["z"] * (state.h - n))

    def _gates(self, params: GRUParams, state: GRUState, u: Gates) -> dict[str, Array]:
        w_rz = params.w_h[:, : 2 * self.hidden_size]
        r, z = add_gates(params, u[:2], state.h @ w_rz)
        return {"r": self.gate(r), "z": self.gate(z)}
