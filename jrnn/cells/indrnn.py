"""Independently recurrent network: every unit hears only itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import affine
from jrnn.types import Activation, Array, DType, PRNGKey, Shape, exportable, value


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
class IndRNN:
    """Independently recurrent network [1]; the output is the new state.

        h' = activation(x Wx + b + w_h * h)

    Units do not mix within a layer, so layers are stacked. The gradient over a lag of T
    steps has the factor w_h^T: with `longest=T`, recurrent weights are drawn between 0
    and 2^(1/T), so that it doubles at most. To hold them there in training, clip `w_h`
    after each update.

    Attributes:
      hidden_size: The number H of hidden units.
      activation: A module-level function; ReLU as in the paper.
      bias: "single", or None for none.
      longest: The number of steps over which the gradient may double at the start; None
        for recurrent weights between 0 and 1.

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
    bias: str | None = "single"
    longest: int | None = None

    feature_axes = 1
    structure = "diagonal"

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> IndRNNParams:
        """Draws parameters for inputs [..., input_size]."""
        checks.one_of("bias", self.bias, ["single", None])
        checks.at_least("input_size", input_size, 1)
        checks.at_least("hidden_size", self.hidden_size, 1)
        key_x, key_h = jax.random.split(key)
        size = self.hidden_size
        bound = 1.0
        if self.longest is not None:
            checks.at_least("longest", self.longest, 1)
            bound = 2.0 ** (1 / self.longest)
        w_h = jax.random.uniform(key_h, (size,), maxval=bound).astype(dtype)
        return IndRNNParams(
            w_x=initializers.lecun_normal(key_x, input_size, size, 1, dtype),
            w_h=w_h,
            b_x=None if self.bias is None else jnp.zeros(size, dtype),
        )

    def initial_state(
        self, params: IndRNNParams, batch_shape: Shape = ()
    ) -> IndRNNState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return IndRNNState(h=jnp.zeros(shape, params.w_h.dtype))

    def prepare(
        self,
        params: IndRNNParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> IndRNNParams:
        """Returns the parameters as they are."""
        del key, batch_shape
        return params

    def project(
        self, params: IndRNNParams, x: Array, *, key: PRNGKey | None = None
    ) -> Array:
        """Maps inputs [..., F] to their share of the pre-activation [..., H]."""
        del key
        return affine(x, params.w_x, params.b_x)

    def step(self, params: IndRNNParams, state: IndRNNState, u: Array) -> IndRNNState:
        """Returns the next state."""
        return IndRNNState(h=self.activation(u + params.w_h * state.h))

    def read(self, params: IndRNNParams, state: IndRNNState, u: Array) -> Array:
        """Returns the state [..., H] itself."""
        del params, u
        return state.h
