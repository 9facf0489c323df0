"""Long short-term memory."""

from typing import NamedTuple

from jrnn.cells import activations
from jrnn.cells.affine import Gates
from jrnn.cells.base import GatedCell
from jrnn.types import Activation, Array, GateBias
from jrnn.values import exportable, init_only, value

LSTM_REMEMBERS = (-1, 1, 0, 0)  # signs of the gates' biases, see `GatedCell`


@exportable
class LSTMParams(NamedTuple):
    """Arrays of an LSTM with F input features and H hidden units.

    The gates are concatenated along the last axis, in the order i, f, g, o.
    """

    w_x: Array  # [F, 4H] input to gates
    w_h: Array  # [H, 4H] state to gates
    b_x: Array | None  # [4H] bias of the gates
    b_h: Array | None = None  # [4H] second bias, with the matmul of the state


@exportable
class LSTMState(NamedTuple):
    """State of an LSTM."""

    h: Array  # [..., H] output
    c: Array  # [..., H] memory


@value
class LSTM(GatedCell):
    """Long short-term memory [1] with a forget gate [2]; the output is h'.

        i  = gate(x Wxi + bi + h Whi)              input gate
        f  = gate(x Wxf + bf + h Whf)              forget gate
        g  = activation(x Wxg + bg + h Whg)        candidate
        o  = gate(x Wxo + bo + h Who)              output gate
        c' = f * c + i * g
        h' = o * output_activation(c')

    `PeepholeLSTM` can couple input and forget gate, and `ClipState` clips the memory.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      output_activation: Activation of the memory in the output; None for that of the
        candidate.
      bias: Whether there is a bias.
      separate_biases: Whether there are two biases, `b_x` and `b_h`, as in PyTorch.
      forget_bias: Initial bias of the forget gate [3]. It is stored in the parameter;
        nothing is added in the forward pass. None is the value of the scheme. A
        function draws it for each unit, such as `initializers.Chrono(longest=784)` [4]
        or `initializers.uniform_gate` [5]; the input gate then gets the negative.
      scheme: How parameters are initialized: "jrnn" (LeCun-normal input, each gate of
        the state orthogonal, forget bias 1), "torch", "keras", "flax", "nnx" or
        "haiku".

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
    bias: bool = True
    separate_biases: bool = False
    forget_bias: float | GateBias | None = init_only(None)
    scheme: str = init_only("jrnn")

    blocks = 4
    kind = "lstm"
    remembers = LSTM_REMEMBERS
    params_type = LSTMParams
    state_type = LSTMState

    def update(self, params: LSTMParams, state: LSTMState, p: Gates) -> LSTMState:
        """Returns the next state."""
        del params
        i, f, g, o = p
        c = self.gate(f) * state.c + self.gate(i) * self.activation(g)
        out = self.output_activation or self.activation
        return LSTMState(h=self.gate(o) * out(c), c=c)

    def gates(self, params: LSTMParams, state: LSTMState, p: Gates) -> dict[str, Array]:
        """Returns the gates by name."""
        del params, state
        i, f, _, o = p
        return {"i": self.gate(i), "f": self.gate(f), "o": self.gate(o)}
