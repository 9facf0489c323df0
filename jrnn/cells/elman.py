"""Elman network: the simple recurrent network."""

from typing import NamedTuple

import jax.numpy as jnp

from jrnn.cells import activations
from jrnn.cells.affine import affine
from jrnn.cells.base import HiddenCell, draw, zeros
from jrnn.forms import Gated, Matmul
from jrnn.types import Activation, Array, DType, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class ElmanParams(NamedTuple):
    """Arrays of an Elman network with F input features and H hidden units."""

    w_x: Array  # [F, H] input to state
    w_h: Array  # [H, H] state to state
    b_x: Array | None  # [H] bias
    b_h: Array | None = None  # [H] second bias, with the matmul of the state


@exportable
class ElmanState(NamedTuple):
    """State of an Elman network."""

    h: Array  # [..., H]


@value
class Elman(HiddenCell):
    """Simple recurrent network [1]; the output is the new state.

        h' = activation(x Wx + b + h Wh)

    Some texts multiply the concatenated vector [x, h] by one matrix. That is the same
    network: the matrix is `Wx` stacked on `Wh`,
    `jnp.concatenate([params.w_x, params.w_h])`. With two matrices the matmul with x is
    hoisted out of the loop over time.

    Attributes:
      hidden_size: The number H of hidden units.
      activation: A module-level function; `activations.relu` for ReLU networks.
      bias: Whether there is a bias.
      separate_biases: Whether there are two, `b_x` and `b_h`, as PyTorch trains.
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
    bias: bool = True
    separate_biases: bool = False
    scheme: str = init_only("jrnn")

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Matmul(params.w_h),
            update=lambda params, state, p: ElmanState(h=self.activation(p)),
            inputs=lambda params: params.w_x,
        )

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> ElmanParams:
        """Draws parameters for inputs [..., input_size]."""
        return ElmanParams(*draw(self, key, "elman", input_size, 1, dtype))

    def initial_state(self, params: ElmanParams, batch_shape: Shape = ()) -> ElmanState:
        """Returns zeros of shape [*batch_shape, H]."""
        return ElmanState(h=zeros(params.w_h, *batch_shape, self.hidden_size))

    def project(
        self, params: ElmanParams, x: Array, *, key: PRNGKey | None = None
    ) -> Array:
        """Maps inputs [..., F] to their contribution to the pre-activation [..., H]."""
        del key
        return affine(x, params.w_x, params.b_x, params.b_h)
