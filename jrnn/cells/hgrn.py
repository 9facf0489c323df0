"""Hierarchically gated recurrent network."""

from jrnn import checks, options
from jrnn.cells import activations
from jrnn.cells.affine import Gates
from jrnn.cells.base import HiddenState
from jrnn.cells.input_gated import InputGated, InputGatedParams
from jrnn.types import Array
from jrnn.values import value


@value
class HGRN(InputGated):
    """Linear recurrence whose forget gate has a lower bound [1].

        f  = floor + (1 - floor) * sigmoid(x Wf + bf)    forget gate
        c  = silu(x Wc + bc)                             candidate
        h' = f * h + (1 - f) * c
        y  = sigmoid(x Wg + bg) * h'                     output gate

    In a stack, use a higher bound in upper layers, so that they remember longer. This
    is the real-valued form, without the phases and the normalization of the paper: add
    a `jrnn.LayerNorm` after it.

    Attributes:
      hidden_size: The number H of hidden units.
      forget_floor: Lower bound of the forget gate, in [0, 1).
      bias: Whether there is a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> stack = jrnn.Stack(*(jrnn.HGRN(4, floor) for floor in (0.0, 0.5, 0.9)))
      >>> params = stack.init(jax.random.key(0), input_size=3)
      >>> state, ys = stack.apply(params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Qin et al., 2023, https://arxiv.org/abs/2311.04823
    """

    hidden_size: int
    forget_floor: float = 0.0
    bias: bool = True

    blocks = 3  # f, c, g

    def __post_init__(self) -> None:
        options.check(self)
        checks.probability("forget_floor", self.forget_floor)

    def gates(self, u: Gates) -> dict[str, Array]:
        """Returns the forget gate and the output gate."""
        f = self.forget_floor + (1 - self.forget_floor) * activations.sigmoid(u[0])
        return {"f": f, "g": activations.sigmoid(u[2])}

    def coefficients(self, u: Gates) -> tuple[HiddenState, HiddenState]:
        """Returns f and (1 - f) * c."""
        f = self.gates(u)["f"]
        return HiddenState(f), HiddenState((1 - f) * activations.silu(u[1]))

    def read(self, params: InputGatedParams, state: HiddenState, u: Gates) -> Array:
        """Returns the gated state."""
        del params
        return activations.sigmoid(u[2]) * state.h
