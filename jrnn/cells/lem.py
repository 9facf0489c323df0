"""Long expressive memory: two states with learned step sizes."""

from typing import NamedTuple

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import VectorCell, zeros
from jrnn.forms import Plain, add_gates
from jrnn.types import Activation, Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class LEMParams(NamedTuple):
    """Arrays of a long expressive memory with F input features and H hidden units.

    The blocks are concatenated along the last axis, in the order a, b, z, y.
    """

    w_x: Array  # [F, 4H] input to all four
    w_y: Array  # [H, 3H] y to a, b and z
    w_z: Array  # [H, H] the new z to y
    b_x: Array | None  # [4H] bias


@exportable
class LEMState(NamedTuple):
    """State of a long expressive memory."""

    y: Array  # [..., H] output
    z: Array  # [..., H]


@value
class LEM(VectorCell):
    """Long expressive memory [1]; the output is y'.

        a  = dt * sigmoid(x Wxa + ba + y Wya)                step size of z
        b  = dt * sigmoid(x Wxb + bb + y Wyb)                step size of y
        z' = (1 - a) * z + a * activation(x Wxz + bz + y Wyz)
        y' = (1 - b) * y + b * activation(x Wxy + by + z' Wzy)

    A discretized differential equation with two learned time scales. The second line
    needs the z' of this step, so a step has two matmuls in sequence.

    Attributes:
      hidden_size: The number H of units of y, and of z.
      dt: The largest step size.
      activation: Activation of the candidates.
      bias: Whether there is a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LEM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.z.shape
      ((2, 5, 4), (2, 4))

    References:
      [1] Rusch et al., 2022, https://arxiv.org/abs/2110.04744
    """

    hidden_size: int
    dt: float = 1.0
    activation: Activation = activations.tanh
    bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("dt", self.dt)

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    def form(self) -> Plain:
        return Plain(self._step, gates=self._gates)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> LEMParams:
        """Draws everything uniform in +-1/sqrt(H), as the authors do."""
        input_size = checks.integer("input_size", input_size, 1)
        keys, size = checks.split_key(key, 4), self.hidden_size
        draw = initializers.uniform
        return LEMParams(
            w_x=draw(keys[0], input_size, size, 4, dtype),
            w_y=draw(keys[1], size, size, 3, dtype),
            w_z=draw(keys[2], size, size, 1, dtype),
            b_x=draw(keys[3], 1, size, 4, dtype)[0] if self.bias else None,
        )

    def initial_state(self, params: LEMParams, batch_shape: Shape = ()) -> LEMState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return LEMState(y=zeros(params.w_z, *shape), z=zeros(params.w_z, *shape))

    def project(
        self, params: LEMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to a, b, z and y, [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), 4)

    def read(self, params: LEMParams, state: LEMState, u: Gates) -> Array:
        """Returns y."""
        del params, u
        return state.y

    def _step(self, params: LEMParams, state: LEMState, u: Gates) -> LEMState:
        a, b, z = add_gates(params, u[:3], state.y @ params.w_y)
        a, b = self.dt * activations.sigmoid(a), self.dt * activations.sigmoid(b)
        z = state.z + a * (self.activation(z) - state.z)
        y = self.activation(u[3] + z @ params.w_z)
        return LEMState(y=state.y + b * (y - state.y), z=z)

    def _gates(self, params: LEMParams, state: LEMState, u: Gates) -> dict[str, Array]:
        """Returns the step sizes as fractions of dt."""
        a, b, _ = add_gates(params, u[:3], state.y @ params.w_y)
        return {"a": activations.sigmoid(a), "b": activations.sigmoid(b)}
