"""Elman network: the simple recurrent network."""

from typing import NamedTuple

import jax.numpy as jnp

from jrnn import initializers
from jrnn.cells import activations
from jrnn.cells.affine import affine
from jrnn.types import Activation, Array, DType, PRNGKey, Shape, exportable, value


@exportable
class ElmanParams(NamedTuple):
    """Arrays of an Elman network with F input features and H hidden units."""

    w_x: Array  # [F, H] input to state
    w_h: Array  # [H, H] state to state
    b_x: Array | None  # [H] bias
    b_h: Array | None = None  # [H] second bias, of the state's product


@exportable
class ElmanState(NamedTuple):
    """State of an Elman network."""

    h: Array  # [..., H]


@value
class Elman:
    """Simple recurrent network [1]; the output is the new state.

        h' = activation(x Wx + b + h Wh)

    Some texts multiply the concatenated vector [x, h] by one matrix. That is the same
    network: the matrix is `Wx` stacked on `Wh`,
    `jnp.concatenate([params.w_x, params.w_h])`. Apart, the product with x leaves the
    loop over time.

    Attributes:
      hidden_size: The number H of hidden units.
      activation: A module-level function; `activations.relu` for ReLU networks.
      bias: "single"; "double" for the two biases that PyTorch trains; None for none.
      scheme: How parameters are drawn: "jrnn" (LeCun-normal input, orthogonal state),
        "torch", "keras", "flax", "nnx" or "haiku".

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, hidden]
      (2, 5, 4)

    References:
      [1] Elman, 1990, https://doi.org/10.1207/s15516709cog1402_1
    """

    hidden_size: int
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
    ) -> ElmanParams:
        """Draws parameters for inputs [..., input_size]."""
        how = initializers.scheme(self.scheme, "elman")
        size = self.hidden_size
        kernels, biases = initializers.recurrent_weights(
            key, how, self.bias, input_size, size, 1, dtype
        )
        return ElmanParams(*kernels, *biases)

    def initial_state(self, params: ElmanParams, batch_shape: Shape = ()) -> ElmanState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return ElmanState(h=jnp.zeros(shape, params.w_h.dtype))

    def prepare(
        self,
        params: ElmanParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> ElmanParams:
        """Returns the parameters as they are."""
        del key, batch_shape
        return params

    def project(
        self, params: ElmanParams, x: Array, *, key: PRNGKey | None = None
    ) -> Array:
        """Maps inputs [..., F] to their share of the pre-activation [..., H]."""
        del key
        return affine(x, params.w_x, params.b_x, params.b_h)

    def step(self, params: ElmanParams, state: ElmanState, u: Array) -> ElmanState:
        """Returns the next state."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        return self.update(params, state, self.combine(params, u, v))

    def read(self, params: ElmanParams, state: ElmanState, u: Array) -> Array:
        """Returns the state [..., H] itself."""
        del params, u
        return state.h

    def hidden(self, state: ElmanState) -> Array:
        """Returns h."""
        return state.h

    def input_kernel(self, params: ElmanParams) -> Array:
        """Returns `w_x`."""
        return params.w_x

    def recurrent_kernel(self, params: ElmanParams) -> Array:
        """Returns `w_h`."""
        return params.w_h

    def combine(self, params: ElmanParams, u: Array, v: Array) -> Array:
        """Adds the shares of input and state."""
        del params
        return u + v

    def update(self, params: ElmanParams, state: ElmanState, p: Array) -> ElmanState:
        """Applies the activation."""
        del params, state
        return ElmanState(h=self.activation(p))
