"""Minimal gated unit: one gate that both forgets and resets."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.types import Activation, Array, DType, PRNGKey, Shape, exportable, value


@exportable
class MGUParams(NamedTuple):
    """Arrays of a minimal gated unit with F input features and H hidden units.

    The gate and the candidate lie side by side along the last axis, in the order f, n.
    """

    w_x: Array  # [F, 2H] input to gate and candidate
    w_h: Array  # [H, 2H] state to gate and candidate
    b_x: Array | None  # [2H] bias
    b_h: Array | None = None  # [H] bias of the candidate under the gate


@exportable
class MGUState(NamedTuple):
    """State of a minimal gated unit."""

    h: Array  # [..., H]


@value
class MGU:
    """Minimal gated unit [1]; the output is the new state.

        f  = gate(x Wxf + bf + h Whf)                     the only gate
        n  = activation(x Wxn + bn + f * (h Whn + b_h))   candidate
        h' = (1 - f) * n + f * h

    The gate acts after the product with the state, and an open one keeps the state, as
    in Flax; the paper's f is 1 - f here.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gate.
      activation: Activation of the candidate.
      reset: Whether the gate acts on the state's share of the candidate as well;
        otherwise `n = activation(x Wxn + bn + h Whn)`, and there is no `b_h`.
      bias: "single", or None for none.
      forget_bias: What the gate's bias starts at.
      scheme: How parameters are drawn, as in `GRU`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.MGU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, hidden]
      (2, 5, 4)

    References:
      [1] Zhou et al., 2016, https://arxiv.org/abs/1603.09420
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    reset: bool = True
    bias: str | None = "single"
    forget_bias: float = 1.0
    scheme: str = "jrnn"

    feature_axes = 1
    structure = "dense"

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> MGUParams:
        """Draws parameters for inputs [..., input_size]."""
        checks.one_of("bias", self.bias, ["single", None])
        how = initializers.scheme(self.scheme, "mgu")
        key, key_n = jax.random.split(key)
        size = self.hidden_size
        kernels, (b_x, b_h) = initializers.recurrent_weights(
            key, how, self.bias, input_size, size, 2, dtype
        )
        if b_x is not None:
            b_x = b_x.at[:size].add(self.forget_bias)
            if self.reset:
                b_h = initializers.biases(key_n, how, size, 1, dtype)
        return MGUParams(*kernels, b_x, b_h)

    def initial_state(self, params: MGUParams, batch_shape: Shape = ()) -> MGUState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return MGUState(h=jnp.zeros(shape, params.w_h.dtype))

    def prepare(
        self, params: MGUParams, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> MGUParams:
        """Returns the parameters as they are."""
        del key, batch_shape
        return params

    def project(
        self, params: MGUParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their shares of f and n, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), 2)

    def step(self, params: MGUParams, state: MGUState, u: Gates) -> MGUState:
        """Returns the next state."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        return self.update(params, state, self.combine(params, u, v))

    def read(self, params: MGUParams, state: MGUState, u: Gates) -> Array:
        """Returns the state [..., H] itself."""
        del params, u
        return state.h

    def hidden(self, state: MGUState) -> Array:
        """Returns h."""
        return state.h

    def recurrent_kernel(self, params: MGUParams) -> Array:
        """Returns `w_h`."""
        return params.w_h

    def combine(self, params: MGUParams, u: Gates, v: Array) -> Gates:
        """Adds the shares of the gate; those of the candidate stay apart."""
        u_f, u_n = u
        v_f, v_n = split(v, 2)
        if params.b_h is not None:
            v_n = v_n + params.b_h
        return u_f + v_f, u_n, v_n

    def update(self, params: MGUParams, state: MGUState, p: Gates) -> MGUState:
        """Applies the gate: its pre-activation and both shares of n, [..., H] each."""
        del params
        f, u_n, v_n = p
        f = self.gate(f)
        n = self.activation(u_n + (f * v_n if self.reset else v_n))
        return MGUState(h=n + f * (state.h - n))

    def gates(self, params: MGUParams, state: MGUState, u: Gates) -> dict[str, Array]:
        """Returns f [..., H]."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        return {"f": self.gate(self.combine(params, u, v)[0])}
