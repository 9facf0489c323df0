"""Recurrent network with the activation modReLU."""

from typing import NamedTuple

import jax.numpy as jnp

from jrnn.cells import activations
from jrnn.cells.affine import Gates
from jrnn.cells.base import GatedCell, HiddenState, draw
from jrnn.numerics import along
from jrnn.types import Array, DType, PRNGKey
from jrnn.values import exportable, init_only, value


@exportable
class ModReLUParams(NamedTuple):
    """Arrays of a modReLU network with F input features and H hidden units."""

    w_x: Array  # [F, H] input to state
    w_h: Array  # [H, H] state to state
    b: Array  # [H] threshold


@value
class ModReLURNN(GatedCell):
    """Simple recurrent network with the activation modReLU [1].

        p  = x Wx + h Wh
        h' = sign(p) * relu(|p| + b)

    modReLU applies a ReLU to |p| + b and keeps the sign of p. With b = 0, the network
    is linear. It is used with orthogonal recurrent weights, which preserve norms.
    `Orthogonal(ModReLURNN(...))` is scoRNN [2] with the Cayley transform and expRNN [3]
    with the exponential. The state is a `HiddenState`.

    Attributes:
      hidden_size: The number H of hidden units.
      scheme: How weights are initialized, as in `Elman`; thresholds start at zero.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Orthogonal(jrnn.ModReLURNN(hidden_size=4))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Arjovsky et al., 2016, https://arxiv.org/abs/1511.06464
      [2] Helfrich et al., 2018, https://arxiv.org/abs/1707.09520
      [3] Lezcano-Casado and Martínez-Rubio, 2019, https://arxiv.org/abs/1901.08428
    """

    hidden_size: int
    scheme: str = init_only("jrnn")

    blocks = 1
    kind = "elman"

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> ModReLUParams:
        """Draws parameters for inputs [..., input_size]."""
        w_x, w_h, _, _ = draw(self, key, "elman", input_size, 1, dtype)
        return ModReLUParams(w_x, w_h, jnp.zeros(self.hidden_size, dtype))

    def update(
        self, params: ModReLUParams, state: HiddenState, p: Gates
    ) -> HiddenState:
        """Returns the next state."""
        del state
        size = activations.relu(jnp.abs(p[0]) + along(params.b, p[0]))
        return HiddenState(h=jnp.sign(p[0]) * size)
