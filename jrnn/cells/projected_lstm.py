"""Long short-term memory whose output is projected to fewer units."""

from typing import NamedTuple

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import VectorCell, draw, zeros
from jrnn.cells.lstm import LSTM_REMEMBERS, LSTMState
from jrnn.forms import Plain, add_gates
from jrnn.types import Activation, Array, DType, GateBias, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class ProjectedLSTMParams(NamedTuple):
    """Arrays of a projected LSTM with F input features, H units and P outputs.

    The gates are concatenated along the last axis, in the order i, f, g, o.
    """

    w_x: Array  # [F, 4H] input to gates
    w_h: Array  # [P, 4H] output to gates
    w_p: Array  # [H, P] units to output
    b_x: Array | None  # [4H] bias of the gates
    b_h: Array | None = None  # [4H] second bias, with the matmul of the output


@value
class ProjectedLSTM(VectorCell):
    """Long short-term memory with a recurrent projection [1]; the output is h'.

        i  = gate(x Wxi + bi + h Whi)              input gate
        f  = gate(x Wxf + bf + h Whf)              forget gate
        g  = activation(x Wxg + bg + h Whg)        candidate
        o  = gate(x Wxo + bo + h Who)              output gate
        c' = f * c + i * g
        h' = (o * activation(c')) Wp

    The memory c has H units. The gates read h, which is also the output and has only P
    features: the cell of PyTorch's `proj_size`. The state is an `LSTMState`.

    Attributes:
      hidden_size: The number H of units of the memory.
      output_features: The number P of outputs.
      gate: Activation of the gates.
      activation: Activation of the candidate, and of the memory in the output.
      bias: Whether there is a bias.
      separate_biases: Whether there are two biases, `b_x` and `b_h`, as in PyTorch.
      forget_bias: Initial bias of the forget gate, as in `LSTM`.
      scheme: How parameters are initialized, as in `LSTM`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ProjectedLSTM(hidden_size=8, output_features=2)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.c.shape
      ((2, 5, 2), (2, 8))

    References:
      [1] Sak et al., 2014, https://arxiv.org/abs/1402.1128
    """

    hidden_size: int
    output_features: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True
    separate_biases: bool = False
    forget_bias: float | GateBias | None = init_only(None)
    scheme: str = init_only("jrnn")

    @property
    def output_size(self) -> int:
        return self.output_features

    @property
    def form(self) -> Plain:
        return Plain(self._step, gates=self._gates)

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> ProjectedLSTMParams:
        """Draws parameters for inputs [..., input_size]."""
        key, key_p = checks.split_key(key)
        drawn = draw(self, key, "lstm", input_size, 4, dtype, LSTM_REMEMBERS)
        w_x, w_h, b_x, b_h = drawn
        scheme, read = initializers.scheme(self.scheme, "lstm"), self.output_features
        # PyTorch's bound counts H
        w_p = scheme.w_h(key_p, read, self.hidden_size, 1, dtype).T
        return ProjectedLSTMParams(w_x, w_h, w_p, b_x, b_h)

    def initial_state(
        self, params: ProjectedLSTMParams, batch_shape: Shape = ()
    ) -> LSTMState:
        """Returns zeros: h [*batch_shape, P] and c [*batch_shape, H]."""
        return LSTMState(
            h=zeros(params.w_h, *batch_shape, self.output_features),
            c=zeros(params.w_h, *batch_shape, self.hidden_size),
        )

    def project(
        self, params: ProjectedLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to i, f, g and o, [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x, params.b_h), 4)

    def read(self, params: ProjectedLSTMParams, state: LSTMState, u: Gates) -> Array:
        """Returns h [..., P]."""
        del params, u
        return state.h

    def _step(
        self, params: ProjectedLSTMParams, state: LSTMState, u: Gates
    ) -> LSTMState:
        i, f, g, o = add_gates(params, u, state.h @ params.w_h)
        c = self.gate(f) * state.c + self.gate(i) * self.activation(g)
        return LSTMState(h=(self.gate(o) * self.activation(c)) @ params.w_p, c=c)

    def _gates(
        self, params: ProjectedLSTMParams, state: LSTMState, u: Gates
    ) -> dict[str, Array]:
        i, f, _, o = add_gates(params, u, state.h @ params.w_h)
        return {"i": self.gate(i), "f": self.gate(f), "o": self.gate(o)}
