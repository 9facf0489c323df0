"""Long short-term memory with peepholes, coupled gates, or both."""

from typing import NamedTuple

import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates
from jrnn.cells.base import GatedCell
from jrnn.cells.lstm import LSTM_REMEMBERS, LSTMState
from jrnn.numerics import along
from jrnn.types import Activation, Array, DType, GateBias, PRNGKey
from jrnn.values import exportable, init_only, value


@exportable
class PeepholeLSTMParams(NamedTuple):
    """Arrays of a peephole LSTM with F input features and H hidden units.

    The gates are concatenated along the last axis, in the order i, f, g, o. Coupled
    gates have no f: k is 3 instead of 4, and p is [2H].
    """

    w_x: Array  # [F, k*H] input to gates
    w_h: Array  # [H, k*H] state to gates
    b_x: Array | None  # [k*H] bias of the gates
    b_h: Array | None = None  # [k*H] second bias, with the matmul of the state
    p: Array | None = None  # [3H] memory to the gates i, f, o, elementwise


@value
class PeepholeLSTM(GatedCell):
    """Long short-term memory whose gates read the memory [1]; the output is h'.

        i  = gate(x Wxi + bi + h Whi + pi * c)     input gate
        f  = gate(x Wxf + bf + h Whf + pf * c)     forget gate; 1 - i if coupled [2]
        g  = activation(x Wxg + bg + h Whg)        candidate
        c' = f * c + i * g
        o  = gate(x Wxo + bo + h Who + po * c')    output gate: it reads the new memory
        h' = o * output_activation(c')

    The equations of ONNX and of TensorFlow Lite.

    Attributes:
      hidden_size: The number H of hidden units.
      coupled: Whether the forget gate is 1 - i, with no parameters of its own.
      peepholes: Whether gates read the memory. `coupled=True, peepholes=False` is the
        LSTM with coupled input and forget gate (CIFG) [2].
      gate: Activation of the gates.
      activation: Activation of the candidate.
      output_activation: Activation of the memory in the output; None for that of the
        candidate.
      bias: Whether there is a bias.
      separate_biases: Whether there are two biases, `b_x` and `b_h`, as in PyTorch.
      forget_bias: Initial bias of the forget gate, stored in the parameter; if coupled,
        that of the input gate is its negative. None takes the value of the scheme, and
        functions draw it, as in `LSTM`.
      scheme: How parameters are initialized, as in `LSTM`; peepholes are uniform in
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
    bias: bool = True
    separate_biases: bool = False
    forget_bias: float | GateBias | None = init_only(None)
    scheme: str = init_only("jrnn")

    kind = "lstm"
    params_type = PeepholeLSTMParams
    state_type = LSTMState

    @property
    def blocks(self) -> int:  # type: ignore[override]
        """The number k of gates with parameters of their own."""
        return 3 if self.coupled else 4

    @property
    def remembers(self) -> tuple[int, ...]:  # type: ignore[override]
        """The signs with which the biases of the gates take `forget_bias`."""
        return (-1, 0, 0) if self.coupled else LSTM_REMEMBERS

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> PeepholeLSTMParams:
        """Draws parameters for inputs [..., input_size]."""
        key_gates, key_p = checks.split_key(key)
        params = super().init(key_gates, input_size, dtype)
        if not self.peepholes:
            return params
        p = initializers.uniform(key_p, 1, self.hidden_size, self.blocks - 1, dtype)
        return params._replace(p=p[0])

    def update(
        self, params: PeepholeLSTMParams, state: LSTMState, p: Gates
    ) -> LSTMState:
        """Returns the next state."""
        gates, c = self._remember(params, state, p)
        out = self.output_activation or self.activation
        return LSTMState(h=gates["o"] * out(c), c=c)

    def gates(
        self, params: PeepholeLSTMParams, state: LSTMState, p: Gates
    ) -> dict[str, Array]:
        """Returns the gates by name."""
        return self._remember(params, state, p)[0]

    def _remember(
        self, params: PeepholeLSTMParams, state: LSTMState, p: Gates
    ) -> tuple[dict[str, Array], Array]:
        """Returns the gates, and the next memory, which the last of them reads."""
        *before, g, o = p
        *weights, weight_o = self._peepholes(params, o)
        gates = [
            self.gate(a + weight * state.c)
            for a, weight in zip(before, weights, strict=True)
        ]
        i, f = (gates[0], 1 - gates[0]) if self.coupled else gates
        c = f * state.c + i * self.activation(g)
        return {"i": i, "f": f, "o": self.gate(o + weight_o * c)}, c

    def _peepholes(self, params: PeepholeLSTMParams, o: Array) -> list[Array]:
        """Returns the peepholes of the gates before the candidate, and of o."""
        gates = self.blocks - 1
        if params.p is None:
            return [along(jnp.zeros((), o.dtype), o)] * gates
        return jnp.split(along(params.p, o), gates, axis=-1)
