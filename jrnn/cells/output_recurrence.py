"""Recurrence from the output: back to the hidden units, or to the output itself."""

from typing import NamedTuple

import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import affine
from jrnn.cells.base import VectorCell, zeros
from jrnn.forms import Gated, Matmul, Plain
from jrnn.types import Activation, Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class OutputParams(NamedTuple):
    """Arrays of a network with F input features, H hidden units and O outputs."""

    w_x: Array  # [F, H] input to hidden units
    w_y: Array  # output to hidden units [O, H] or to outputs [O, O]
    w_o: Array  # [H, O] hidden units to output
    b_x: Array | None  # [H] bias of the hidden units
    b_o: Array | None  # [O] bias of the output


@exportable
class OutputState(NamedTuple):
    """State of a network that carries only its output."""

    y: Array  # [..., O]


class _OutputCell(VectorCell):
    """A cell whose state is its output."""

    hidden_size: int
    output_features: int
    bias: bool

    @property
    def output_size(self) -> int:
        return self.output_features

    def initial_state(
        self, params: OutputParams, batch_shape: Shape = ()
    ) -> OutputState:
        """Returns zeros of shape [*batch_shape, O]."""
        return OutputState(y=zeros(params.w_o, *batch_shape, self.output_features))

    def read(self, params: OutputParams, state: OutputState, u: Array) -> Array:
        """Returns y."""
        del params, u
        return state.y

    def _draw(
        self, key: PRNGKey, input_size: int, back: int, dtype: DType
    ) -> OutputParams:
        """Draws the arrays; the output reaches `back` units."""
        input_size = checks.integer("input_size", input_size, 1)
        key_x, key_y, key_o = checks.split_key(key, 3)
        size, out = self.hidden_size, self.output_features
        return OutputParams(
            w_x=initializers.lecun_normal(key_x, input_size, size, 1, dtype),
            w_y=initializers.orthogonal(key_y, out, back, 1, dtype),
            w_o=initializers.lecun_normal(key_o, size, out, 1, dtype),
            b_x=jnp.zeros(size, dtype) if self.bias else None,
            b_o=jnp.zeros(out, dtype) if self.bias else None,
        )


@value
class Jordan(_OutputCell):
    """Jordan network [1]: the hidden units read the previous *output*.

        h  = activation(x Wx + b + y Wy)
        y' = output_activation(h Wo + bo)

    This is output-to-hidden recurrence; in an `Elman` network, the hidden units read
    their own previous values. All memory passes through the output, so a network with
    few outputs remembers little. The state is the output, an `OutputState`.

    Attributes:
      hidden_size: The number H of hidden units.
      output_features: The number O of outputs.
      activation: Activation of the hidden units.
      output_activation: Activation of the outputs.
      bias: Whether there are biases.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Jordan(hidden_size=4, output_features=2)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, outputs]
      (2, 5, 2)

    References:
      [1] Jordan, 1986, https://apps.dtic.mil/sti/html/tr/ADA173989/index.html
    """

    hidden_size: int
    output_features: int
    activation: Activation = activations.tanh
    output_activation: Activation = activations.identity
    bias: bool = True

    @property
    def form(self) -> Plain:
        return Plain(self._step)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> OutputParams:
        """Draws LeCun-normal weights, and orthogonal ones from the output."""
        return self._draw(key, input_size, self.hidden_size, dtype)

    def project(
        self, params: OutputParams, x: Array, *, key: PRNGKey | None = None
    ) -> Array:
        """Maps inputs [..., F] to their contribution to the hidden units [..., H]."""
        del key
        return affine(x, params.w_x, params.b_x)

    def _step(self, params: OutputParams, state: OutputState, u: Array) -> OutputState:
        h = self.activation(u + state.y @ params.w_y)
        return OutputState(y=self.output_activation(affine(h, params.w_o, params.b_o)))


@value
class OutputToOutput(_OutputCell):
    """Network whose output units read the previous output.

        h  = activation(x Wx + b)
        y' = output_activation(h Wo + bo + y Wy)

    This is output-to-output recurrence. The hidden units have no recurrence, so all
    steps are computed at once, and the loop holds only the outputs: an `Elman` network
    of O units on top of a dense layer. The state is an `OutputState`.

    Attributes:
      hidden_size: The number H of hidden units, which are not carried to the next step.
      output_features: The number O of outputs.
      activation: Activation of the hidden units.
      output_activation: Activation of the outputs.
      bias: Whether there are biases.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.OutputToOutput(hidden_size=4, output_features=2)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, outputs]
      (2, 5, 2)

    References:
      Goodfellow et al., 2016, https://www.deeplearningbook.org/contents/rnn.html
    """

    hidden_size: int
    output_features: int
    activation: Activation = activations.tanh
    output_activation: Activation = activations.tanh
    bias: bool = True

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.y,
            recurrent=lambda params: Matmul(params.w_y),
            update=lambda params, state, p: OutputState(y=self.output_activation(p)),
            local=False,  # the input weights reach every output
        )

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> OutputParams:
        """Draws LeCun-normal weights, and orthogonal ones from the output."""
        return self._draw(key, input_size, self.output_features, dtype)

    def project(
        self, params: OutputParams, x: Array, *, key: PRNGKey | None = None
    ) -> Array:
        """Maps inputs [..., F] to the contribution of hidden units to outputs."""
        del key
        h = self.activation(affine(x, params.w_x, params.b_x))
        return affine(h, params.w_o, params.b_o)
