"""Long short-term memory with a forget gate only."""

from jrnn.cells import activations
from jrnn.cells.affine import Gates
from jrnn.cells.base import GatedCell, GatedParams, HiddenState
from jrnn.types import Activation, Array, GateBias
from jrnn.values import init_only, value


@value
class JANET(GatedCell):
    """Long short-term memory with only a forget gate [1]; the output is the memory.

        s  = x Wxf + bf + h Whf                      pre-activation of the gate
        g  = activation(x Wxg + bg + h Whg)          candidate
        h' = gate(s) * h + (1 - gate(s - beta)) * g

    The parameters are a `GatedParams` with the gates f, g, and the state is a
    `HiddenState`.

    Attributes:
      hidden_size: The number H of hidden units.
      beta: Increases the weight of the candidate compared with 1 - gate(s); 1 in the
        paper. With 0, this is `MGU(reset=False)`.
      gate: Activation of the gate.
      activation: Activation of the candidate.
      bias: Whether there is a bias.
      forget_bias: Initial bias of the gate; a number, or a function that draws it. The
        paper draws it with `initializers.Chrono(longest=...)`, the number of steps.
      scheme: How parameters are initialized, as in `GRU`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> start = jrnn.initializers.Chrono(longest=784)
      >>> cell = jrnn.JANET(hidden_size=4, forget_bias=start)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, hidden]
      (2, 5, 4)

    References:
      [1] van der Westhuizen and Lasenby, 2018, https://arxiv.org/abs/1804.04849
    """

    hidden_size: int
    beta: float = 1.0
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True
    forget_bias: float | GateBias | None = init_only(1.0)
    scheme: str = init_only("jrnn")

    blocks = 2
    remembers = (1, 0)

    def update(self, params: GatedParams, state: HiddenState, p: Gates) -> HiddenState:
        """Returns the next state."""
        del params
        s, g = p
        kept = self.gate(s) * state.h
        return HiddenState(h=kept + (1 - self.gate(s - self.beta)) * self.activation(g))

    def gates(
        self, params: GatedParams, state: HiddenState, p: Gates
    ) -> dict[str, Array]:
        """Returns the gate by name."""
        del params, state
        return {"f": self.gate(p[0])}
