"""Independently recurrent network: each unit depends only on itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import affine
from jrnn.cells.base import HiddenCell, zeros
from jrnn.forms import Plain
from jrnn.numerics import along
from jrnn.types import Activation, Array, DType, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class IndRNNParams(NamedTuple):
    """Arrays of an IndRNN with F input features and H hidden units."""

    w_x: Array  # [F, H] input to state
    w_h: Array  # [H] each unit to itself
    b_x: Array | None  # [H] bias


@exportable
class IndRNNState(NamedTuple):
    """State of an IndRNN."""

    h: Array  # [..., H]


@value
class IndRNN(HiddenCell):
    """Independently recurrent network [1]; the output is the new state.

        h' = activation(x Wx + b + w_h * h)

    Units do not interact within a layer, so several layers are stacked. The gradient
    over a lag of T steps has the factor w_h^T. With `longest=T`, recurrent weights are
    drawn between 0 and 2^(1/T), and that factor is at most 2. Clip `w_h` after each
    update to keep the bound in training.

    Attributes:
      hidden_size: The number H of hidden units.
      activation: A module-level function; ReLU as in the paper.
      bias: Whether there is a bias.
      longest: The number of steps over which the gradient may at most double at
        initialization; None for recurrent weights between 0 and 1.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.IndRNN(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, hidden]
      (2, 5, 4)

    References:
      [1] Li et al., 2018, https://arxiv.org/abs/1803.04831
    """

    hidden_size: int
    activation: Activation = activations.relu
    bias: bool = True
    longest: int | None = init_only(None)

    @property
    def form(self) -> Plain:
        return Plain(self._step, structure="diagonal")

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> IndRNNParams:
        """Draws parameters for inputs [..., input_size]."""
        input_size = checks.integer("input_size", input_size, 1)
        key_x, key_h = checks.split_key(key)
        size = self.hidden_size
        bound = 1.0
        if self.longest is not None:
            bound = 2.0 ** (1 / self.longest)
        w_h = jax.random.uniform(key_h, (size,), maxval=bound).astype(dtype)
        return IndRNNParams(
            w_x=initializers.lecun_normal(key_x, input_size, size, 1, dtype),
            w_h=w_h,
            b_x=jnp.zeros(size, dtype) if self.bias else None,
        )

    def initial_state(
        self, params: IndRNNParams, batch_shape: Shape = ()
    ) -> IndRNNState:
        """Returns zeros of shape [*batch_shape, H]."""
        return IndRNNState(h=zeros(params.w_h, *batch_shape, self.hidden_size))

    def project(
        self, params: IndRNNParams, x: Array, *, key: PRNGKey | None = None
    ) -> Array:
        """Maps inputs [..., F] to their contribution to the pre-activation [..., H]."""
        del key
        return affine(x, params.w_x, params.b_x)

    def _step(self, params: IndRNNParams, state: IndRNNState, u: Array) -> IndRNNState:
        w_h = along(params.w_h, state.h)
        return IndRNNState(h=self.activation(u + w_h * state.h))
