"""Long short-term memory."""

from typing import NamedTuple

import jax.numpy as jnp

from jrnn import initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, add, affine, split
from jrnn.types import Activation, Array, DType, PRNGKey, Shape, exportable, value


@exportable
class LSTMParams(NamedTuple):
    """Arrays of an LSTM with F input features and H hidden units.

    The gates lie side by side along the last axis, in the order i, f, g, o.
    """

    w_x: Array  # [F, 4H] input to gates
    w_h: Array  # [H, 4H] state to gates
    b_x: Array | None  # [4H] bias of the gates
    b_h: Array | None = None  # [4H] second bias, of the state's product


@exportable
class LSTMState(NamedTuple):
    """State of an LSTM."""

    h: Array  # [..., H] output
    c: Array  # [..., H] memory


@value
class LSTM:
    """Long short-term memory [1] with a forget gate [2]; the output is h'.

        i  = gate(x Wxi + bi + h Whi)              input gate
        f  = gate(x Wxf + bf + h Whf)              forget gate
        g  = activation(x Wxg + bg + h Whg)        candidate
        o  = gate(x Wxo + bo + h Who)              output gate
        c' = f * c + i * g
        h' = o * output_activation(c')

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      output_activation: Activation of the memory on its way out; None for that of the
        candidate.
      bias: "single"; "double" for the two biases that PyTorch trains; None for none.
      forget_bias: What the forget gate's bias starts at [3]. It is stored in the
        parameter; nothing is added later. None takes the value of the scheme.
      scheme: How parameters are drawn: "jrnn" (LeCun-normal input, each gate of the
        state orthogonal, forget bias 1), "torch", "keras", "flax", "nnx" or "haiku".

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LSTM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.c.shape
      ((2, 5, 4), (2, 4))

    References:
      [1] Hochreiter and Schmidhuber, 1997, https://doi.org/10.1162/neco.1997.9.8.1735
      [2] Gers et al., 2000, https://doi.org/10.1162/089976600300015015
      [3] Jozefowicz et al., 2015, https://proceedings.mlr.press/v37/jozefowicz15.html
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    output_activation: Activation | None = None
    bias: str | None = "single"
    forget_bias: float | None = None
    scheme: str = "jrnn"

    feature_axes = 1
    structure = "dense"

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> LSTMParams:
        """Draws parameters for inputs [..., input_size]."""
        how = initializers.scheme(self.scheme, "lstm")
        size = self.hidden_size
        kernels, (b_x, b_h) = initializers.recurrent_weights(
            key, how, self.bias, input_size, size, 4, dtype
        )
        start = how.forget_bias if self.forget_bias is None else self.forget_bias
        if b_x is not None:
            b_x = b_x.at[size : 2 * size].add(start)
        return LSTMParams(*kernels, b_x, b_h)

    def initial_state(self, params: LSTMParams, batch_shape: Shape = ()) -> LSTMState:
        """Returns zeros of shape [*batch_shape, H]."""
        zeros = jnp.zeros((*batch_shape, self.hidden_size), params.w_h.dtype)
        return LSTMState(h=zeros, c=zeros)

    def prepare(
        self,
        params: LSTMParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> LSTMParams:
        """Returns the parameters as they are."""
        del key, batch_shape
        return params

    def project(
        self, params: LSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their shares of i, f, g and o, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x, params.b_h), 4)

    def step(self, params: LSTMParams, state: LSTMState, u: Gates) -> LSTMState:
        """Returns the next state."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        return self.update(params, state, self.combine(params, u, v))

    def read(self, params: LSTMParams, state: LSTMState, u: Gates) -> Array:
        """Returns h [..., H]."""
        del params, u
        return state.h

    def hidden(self, state: LSTMState) -> Array:
        """Returns h."""
        return state.h

    def input_kernel(self, params: LSTMParams) -> Array:
        """Returns `w_x`."""
        return params.w_x

    def recurrent_kernel(self, params: LSTMParams) -> Array:
        """Returns `w_h`."""
        return params.w_h

    def combine(self, params: LSTMParams, u: Gates, v: Array) -> Gates:
        """Adds the shares of input and state [..., 4H], gate by gate."""
        del params
        return add(u, v)

    def update(self, params: LSTMParams, state: LSTMState, p: Gates) -> LSTMState:
        """Applies the gates i, f, g and o, each [..., H]."""
        del params
        i, f, g, o = p
        c = self.gate(f) * state.c + self.gate(i) * self.activation(g)
        out = self.output_activation or self.activation
        return LSTMState(h=self.gate(o) * out(c), c=c)

    def gates(self, params: LSTMParams, state: LSTMState, u: Gates) -> dict[str, Array]:
        """Returns i, f and o, each [..., H]."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        i, f, _, o = self.combine(params, u, v)
        return {"i": self.gate(i), "f": self.gate(f), "o": self.gate(o)}
