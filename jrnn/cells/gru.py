"""Gated recurrent unit, with the reset gate after or before the state's product."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, add, affine, split
from jrnn.types import Activation, Array, DType, PRNGKey, Shape, exportable, value


@exportable
class GRUParams(NamedTuple):
    """Arrays of a GRU with F input features and H hidden units.

    The gates lie side by side along the last axis, in the order r, z, n.
    """

    w_x: Array  # [F, 3H] input to gates
    w_h: Array  # [H, 3H] state to gates
    b_x: Array | None  # [3H] bias of the gates
    b_h: Array | None = None  # [H] bias under the reset gate; [3H] if "double"


@exportable
class GRUState(NamedTuple):
    """State of a GRU."""

    h: Array  # [..., H]


@value
class GRU:
    """Gated recurrent unit [1] in the form that cuDNN and PyTorch compute [2].

        r  = gate(x Wxr + br + h Whr)                     reset gate
        z  = gate(x Wxz + bz + h Whz)                     update gate
        n  = activation(x Wxn + bn + r * (h Whn + b_h))   candidate
        h' = (1 - z) * n + z * h

    The reset gate acts after the product with the state, so that one product serves
    all three gates. `ResetBeforeGRU` is the other form; weights of one do not fit the
    other. The output is the new state.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      bias: "single": one bias for each gate and `b_h` [H]; "double": `b_h` is [3H], the
        two biases that PyTorch and Keras train; None for none.
      scheme: How parameters are drawn: "jrnn" (LeCun-normal input, each gate of the
        state orthogonal, zero bias), "torch", "keras", "flax", "nnx" or "haiku".

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
    bias: str | None = "single"
    scheme: str = "jrnn"

    feature_axes = 1
    structure = "dense"

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> GRUParams:
        """Draws parameters for inputs [..., input_size]."""
        how = initializers.scheme(self.scheme, "gru")
        key, key_n = jax.random.split(key)
        size = self.hidden_size
        kernels, (b_x, b_h) = initializers.recurrent_weights(
            key, how, self.bias, input_size, size, 3, dtype
        )
        if self.bias == "single":
            b_h = initializers.biases(key_n, how, size, 1, dtype)
        return GRUParams(*kernels, b_x, b_h)

    def initial_state(self, params: GRUParams, batch_shape: Shape = ()) -> GRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return GRUState(h=jnp.zeros(shape, params.w_h.dtype))

    def prepare(
        self, params: GRUParams, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> GRUParams:
        """Returns the parameters as they are."""
        del key, batch_shape
        return params

    def project(
        self, params: GRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their shares of r, z and n, each [..., H]."""
        del key
        r, z, n = split(affine(x, params.w_x, params.b_x), 3)
        if params.b_h is not None and self.bias == "double":
            b_r, b_z, _ = split(params.b_h, 3)  # that of n stays under the reset gate
            r, z = r + b_r, z + b_z
        return r, z, n

    def step(self, params: GRUParams, state: GRUState, u: Gates) -> GRUState:
        """Returns the next state."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        return self.update(params, state, self.combine(params, u, v))

    def read(self, params: GRUParams, state: GRUState, u: Gates) -> Array:
        """Returns the state [..., H] itself."""
        del params, u
        return state.h

    def hidden(self, state: GRUState) -> Array:
        """Returns h."""
        return state.h

    def recurrent_kernel(self, params: GRUParams) -> Array:
        """Returns `w_h`."""
        return params.w_h

    def combine(self, params: GRUParams, u: Gates, v: Array) -> Gates:
        """Adds the shares of r and z; the reset gate keeps those of n apart."""
        u_r, u_z, u_n = u
        v_r, v_z, v_n = split(v, 3)
        if params.b_h is not None:
            v_n = v_n + params.b_h[-self.hidden_size :]
        return u_r + v_r, u_z + v_z, u_n, v_n

    def update(self, params: GRUParams, state: GRUState, p: Gates) -> GRUState:
        """Applies the gates: r, z and both shares of n, each [..., H]."""
        del params
        r, z, u_n, v_n = p
        n = self.activation(u_n + self.gate(r) * v_n)
        return GRUState(h=n + self.gate(z) * (state.h - n))

    def gates(self, params: GRUParams, state: GRUState, u: Gates) -> dict[str, Array]:
        """Returns r and z, each [..., H]."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        r, z, *_ = self.combine(params, u, v)
        return {"r": self.gate(r), "z": self.gate(z)}


@value
class ResetBeforeGRU:
    """Gated recurrent unit with the reset gate before the state's product [1].

        r  = gate(x Wxr + br + h Whr)                 reset gate
        z  = gate(x Wxz + bz + h Whz)                 update gate
        n  = activation(x Wxn + bn + (r * h) Whn)     candidate
        h' = (1 - z) * n + z * h

    The form of version 3 of the paper, of Haiku, of Keras with `reset_after=False` and
    ONNX's default. Its arrays are a `GRUParams` whose `b_h` is None.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      bias: "single", or None for none.
      scheme: How parameters are drawn, as in `GRU`.

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
    bias: str | None = "single"
    scheme: str = "jrnn"

    feature_axes = 1
    structure = "dense"

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> GRUParams:
        """Draws parameters for inputs [..., input_size]."""
        checks.one_of("bias", self.bias, ["single", None])
        how = initializers.scheme(self.scheme, "gru")
        kernels, biases = initializers.recurrent_weights(
            key, how, self.bias, input_size, self.hidden_size, 3, dtype
        )
        return GRUParams(*kernels, *biases)

    def initial_state(self, params: GRUParams, batch_shape: Shape = ()) -> GRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return GRUState(h=jnp.zeros(shape, params.w_h.dtype))

    def prepare(
        self, params: GRUParams, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> GRUParams:
        """Returns the parameters as they are."""
        del key, batch_shape
        return params

    def project(
        self, params: GRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their shares of r, z and n, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), 3)

    def step(self, params: GRUParams, state: GRUState, u: Gates) -> GRUState:
        """Returns the next state: the gates first, then the candidate's product."""
        size = self.hidden_size
        w_rz, w_n = params.w_h[:, : 2 * size], params.w_h[:, 2 * size :]
        r, z = add(u[:2], state.h @ w_rz)
        n = self.activation(u[2] + (self.gate(r) * state.h) @ w_n)
        return GRUState(h=n + self.gate(z) * (state.h - n))

    def read(self, params: GRUParams, state: GRUState, u: Gates) -> Array:
        """Returns the state [..., H] itself."""
        del params, u
        return state.h

    def gates(self, params: GRUParams, state: GRUState, u: Gates) -> dict[str, Array]:
        """Returns r and z, each [..., H]."""
        r, z = add(u[:2], state.h @ params.w_h[:, : 2 * self.hidden_size])
        return {"r": self.gate(r), "z": self.gate(z)}
