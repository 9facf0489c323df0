"""Elman network: the simple recurrent network."""

from typing import NamedTuple

from jrnn.cells import activations
from jrnn.cells.affine import Gates
from jrnn.cells.base import GatedCell
from jrnn.types import Activation, Array
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
class Elman(GatedCell):
    """Simple recurrent network [1]; the output is the new state.

        h' = activation(x Wx + b + h Wh)

    Some texts multiply the concatenated vector [x, h] by one matrix. That is the same
    network: the matrix is `Wx` stacked on `Wh`,
    `jnp.concatenate([params.w_x, params.w_h])`. With two matrices the matmul with x is
    hoisted out of the loop over time.

    `Elman(activation=activations.relu, scheme="irnn")` is the IRNN [2]: recurrent
    weights start as the identity, so that each unit keeps its value.

    Attributes:
      hidden_size: The number H of hidden units.
      activation: A module-level function; `activations.relu` for ReLU networks.
      bias: Whether there is a bias.
      separate_biases: Whether there are two biases, `b_x` and `b_h`, as in PyTorch.
      scheme: How parameters are initialized: "jrnn" (LeCun-normal input, orthogonal
        state), "torch", "keras", "flax", "nnx", "haiku" or "irnn".

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, hidden]
      (2, 5, 4)

    References:
      [1] Elman, 1990, https://doi.org/10.1207/s15516709cog1402_1
      [2] Le et al., 2015, https://arxiv.org/abs/1504.00941
    """

    hidden_size: int
    activation: Activation = activations.tanh
    bias: bool = True
    separate_biases: bool = False
    scheme: str = init_only("jrnn")

    blocks = 1
    kind = "elman"
    params_type = ElmanParams
    state_type = ElmanState

    def update(self, params: ElmanParams, state: ElmanState, p: Gates) -> ElmanState:
        """Returns the next state."""
        del params, state
        return ElmanState(h=self.activation(p[0]))
