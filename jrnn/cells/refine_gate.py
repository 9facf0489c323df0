"""Long short-term memory whose forget gate is refined by a second one."""

from jrnn import initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates
from jrnn.cells.base import GatedCell, GatedParams
from jrnn.cells.lstm import LSTMState
from jrnn.types import Activation, Array, GateBias
from jrnn.values import init_only, value


@value
class RefineGateLSTM(GatedCell):
    """LSTM with a refine gate, the UR-LSTM of [1]; the output is h'.

        f  = gate(x Wxf + bf + h Whf)                forget gate
        r  = gate(x Wxr + br + h Whr)                refine gate
        g  = activation(x Wxg + bg + h Whg)          candidate
        o  = gate(x Wxo + bo + h Who)                output gate
        e  = r * (1 - (1 - f)^2) + (1 - r) * f^2     effective forget gate
        c' = e * c + (1 - e) * g
        h' = o * activation(c')

    The refine gate moves the effective gate between f^2 and 1 - (1 - f)^2. So e can be
    close to 1 while the gradients of both gates are still large. The parameters are a
    `GatedParams` with the gates f, r, g, o, and the state is an `LSTMState`.

    Attributes:
      hidden_size: The number H of hidden units, at least 2 with the default biases.
      gate: Activation of the gates.
      activation: Activation of the candidate, and of the memory in the output.
      bias: Whether there is a bias.
      forget_bias: Initial bias of the forget gate; a number, or a function that draws
        it. If drawn, as by default, that of the refine gate is its negative.
      scheme: How parameters are initialized, as in `LSTM`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.RefineGateLSTM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.c.shape
      ((2, 5, 4), (2, 4))

    References:
      [1] Gu et al., 2020, https://arxiv.org/abs/1910.09890
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True
    forget_bias: float | GateBias | None = init_only(initializers.uniform_gate)
    scheme: str = init_only("jrnn")

    blocks = 4
    kind = "lstm"
    remembers = (1, -1, 0, 0)
    state_type = LSTMState

    def update(self, params: GatedParams, state: LSTMState, p: Gates) -> LSTMState:
        """Returns the next state."""
        gates = self.gates(params, state, p)
        e, o = gates["e"], gates["o"]
        c = e * state.c + (1 - e) * self.activation(p[2])
        return LSTMState(h=o * self.activation(c), c=c)

    def gates(
        self, params: GatedParams, state: LSTMState, p: Gates
    ) -> dict[str, Array]:
        """Returns the gates by name."""
        del params, state
        f, r, o = (self.gate(a) for a in (p[0], p[1], p[3]))
        e = f * f + 2 * r * (f - f * f)
        return {"f": f, "r": r, "e": e, "o": o}
