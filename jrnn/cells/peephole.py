"""Long short-term memory whose gates see the memory, and whose gates may be coupled."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, add, affine, split
from jrnn.cells.lstm import LSTMState
from jrnn.types import Activation, Array, DType, PRNGKey, Shape, exportable, value


@exportable
class PeepholeLSTMParams(NamedTuple):
    """Arrays of a peephole LSTM with F input features and H hidden units.

    The gates lie side by side along the last axis, in the order i, f, g, o. Where gates
    are coupled there is no f: k is 3 in place of 4, and p is [2H].
    """

    w_x: Array  # [F, k*H] input to gates
    w_h: Array  # [H, k*H] state to gates
    b_x: Array | None  # [k*H] bias of the gates
    b_h: Array | None = None  # [k*H] second bias, of the state's product
    p: Array | None = None  # [3H] memory to the gates i, f, o, unit by unit


@value
class PeepholeLSTM:
    """Long short-term memory whose gates see the memory [1]; the output is h'.

        i  = gate(x Wxi + bi + h Whi + pi * c)     input gate
        f  = gate(x Wxf + bf + h Whf + pf * c)     forget gate; 1 - i if coupled [2]
        g  = activation(x Wxg + bg + h Whg)        candidate
        c' = f * c + i * g
        o  = gate(x Wxo + bo + h Who + po * c')    output gate: it sees the new memory
        h' = o * output_activation(c')

    The equations of ONNX and of TensorFlow Lite.

    Attributes:
      hidden_size: The number H of hidden units.
      coupled: Whether the forget gate is 1 - i, with no parameters of its own.
      peepholes: Whether gates see the memory. False with `coupled` is the plain LSTM
        with coupled gates.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      output_activation: Activation of the memory on its way out; None for that of the
        candidate.
      bias: "single"; "double" for two biases that are trained apart; None for none.
      forget_bias: What the forget gate's bias starts at, stored in the parameter; if
        coupled, the input gate's starts at its negative. None takes the value of the
        scheme.
      scheme: How parameters are drawn, as in `LSTM`; peepholes are uniform in
        +-1/sqrt(H).

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.PeepholeLSTM(hidden_size=4, coupled=True)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, params.w_x.shape
      ((2, 5, 4), (3, 12))

    References:
      [1] Gers and Schmidhuber, 2000, https://doi.org/10.1109/IJCNN.2000.861302
      [2] Greff et al., 2017, https://arxiv.org/abs/1503.04069
    """

    hidden_size: int
    coupled: bool = False
    peepholes: bool = True
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

    @property
    def blocks(self) -> int:
        """The number k of gates with parameters of their own."""
        return 3 if self.coupled else 4

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> PeepholeLSTMParams:
        """Draws parameters for inputs [..., input_size]."""
        how = initializers.scheme(self.scheme, "lstm")
        key_gates, key_p = jax.random.split(key)
        size = self.hidden_size
        kernels, (b_x, b_h) = initializers.recurrent_weights(
            key_gates, how, self.bias, input_size, size, self.blocks, dtype
        )
        start = how.forget_bias if self.forget_bias is None else self.forget_bias
        if b_x is not None:
            held = slice(0, size) if self.coupled else slice(size, 2 * size)
            b_x = b_x.at[held].add(-start if self.coupled else start)
        p = None
        if self.peepholes:
            p = initializers.uniform(key_p, 1, size, self.blocks - 1, dtype)[0]
        return PeepholeLSTMParams(*kernels, b_x, b_h, p)

    def initial_state(
        self, params: PeepholeLSTMParams, batch_shape: Shape = ()
    ) -> LSTMState:
        """Returns zeros of shape [*batch_shape, H]."""
        zeros = jnp.zeros((*batch_shape, self.hidden_size), params.w_h.dtype)
        return LSTMState(h=zeros, c=zeros)

    def prepare(
        self,
        params: PeepholeLSTMParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> PeepholeLSTMParams:
        """Returns the parameters as they are."""
        del key, batch_shape
        return params

    def project(
        self, params: PeepholeLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their shares of the k gates, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x, params.b_h), self.blocks)

    def step(self, params: PeepholeLSTMParams, state: LSTMState, u: Gates) -> LSTMState:
        """Returns the next state."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        return self.update(params, state, self.combine(params, u, v))

    def read(self, params: PeepholeLSTMParams, state: LSTMState, u: Gates) -> Array:
        """Returns h [..., H]."""
        del params, u
        return state.h

    def hidden(self, state: LSTMState) -> Array:
        """Returns h."""
        return state.h

    def input_kernel(self, params: PeepholeLSTMParams) -> Array:
        """Returns `w_x`."""
        return params.w_x

    def recurrent_kernel(self, params: PeepholeLSTMParams) -> Array:
        """Returns `w_h`."""
        return params.w_h

    def combine(self, params: PeepholeLSTMParams, u: Gates, v: Array) -> Gates:
        """Adds the shares of input and state; that of the memory is for `update`."""
        del params
        return add(u, v)

    def update(
        self, params: PeepholeLSTMParams, state: LSTMState, p: Gates
    ) -> LSTMState:
        """Applies the k gates, each [..., H], and what each sees of the memory."""
        gates, c = self._remember(params, state, p)
        out = self.output_activation or self.activation
        return LSTMState(h=gates["o"] * out(c), c=c)

    def gates(
        self, params: PeepholeLSTMParams, state: LSTMState, u: Gates
    ) -> dict[str, Array]:
        """Returns i, f and o, each [..., H]."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        return self._remember(params, state, self.combine(params, u, v))[0]

    def _remember(
        self, params: PeepholeLSTMParams, state: LSTMState, p: Gates
    ) -> tuple[dict[str, Array], Array]:
        """Returns the gates, and the next memory, which the last of them sees."""
        *before, g, o = p
        *looks, look_o = self._looks(params, o)
        gates = [
            self.gate(a + look * state.c) for a, look in zip(before, looks, strict=True)
        ]
        i, f = (gates[0], 1 - gates[0]) if self.coupled else gates
        c = f * state.c + i * self.activation(g)
        return {"i": i, "f": f, "o": self.gate(o + look_o * c)}, c

    def _looks(self, params: PeepholeLSTMParams, o: Array) -> list[Array]:
        """Returns the peepholes of the gates before the candidate, and of o."""
        gates = self.blocks - 1
        if params.p is None:
            return [jnp.zeros((), o.dtype)] * gates
        return jnp.split(params.p, gates)
