"""Networks of oscillators, coupled or independent."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import affine
from jrnn.cells.base import VectorCell, zeros
from jrnn.forms import Gated, Matmul, Plain
from jrnn.numerics import along
from jrnn.types import Activation, Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class OscillatorState(NamedTuple):
    """State of a network of oscillators."""

    y: Array  # [..., H] position, the output
    z: Array  # [..., H] velocity


class _Oscillators(VectorCell):
    """A cell whose output is the position of H oscillators."""

    hidden_size: int
    dt: float

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("dt", self.dt)

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def initial_state(
        self, params: "CoRNNParams | UnICORNNParams", batch_shape: Shape = ()
    ) -> OscillatorState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return OscillatorState(y=zeros(params.w_h, *shape), z=zeros(params.w_h, *shape))

    def project(
        self,
        params: "CoRNNParams | UnICORNNParams",
        x: Array,
        *,
        key: PRNGKey | None = None,
    ) -> Array:
        """Maps inputs [..., F] to their contribution to the force [..., H]."""
        del key
        return affine(x, params.w_x, params.b_x)

    def read(
        self,
        params: "CoRNNParams | UnICORNNParams",
        state: OscillatorState,
        u: Array,
    ) -> Array:
        """Returns y."""
        del params, u
        return state.y


@exportable
class CoRNNParams(NamedTuple):
    """Arrays of a coRNN with F input features and H oscillators."""

    w_x: Array  # [F, H] input to force
    w_h: Array  # [2H, H] positions, then velocities to force
    b_x: Array | None  # [H] bias


@value
class CoRNN(_Oscillators):
    """Coupled oscillatory network, coRNN [1]; the output is y'.

        z' = z + dt * (activation(x Wx + b + [y, z] Wh) - gamma * y - epsilon * z)
        y' = y + dt * z'

    Oscillators with squared frequency gamma and damping epsilon, coupled and driven by
    one nonlinear force. For small dt, gradients neither vanish nor explode. The state
    is an `OscillatorState`.

    Attributes:
      hidden_size: The number H of oscillators.
      dt: Size of a time step. The defaults are those of the authors for digits read
        pixel by pixel.
      gamma: Squared frequency.
      epsilon: Damping.
      activation: Activation of the force.
      bias: Whether there is a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.CoRNN(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.z.shape
      ((2, 5, 4), (2, 4))

    References:
      [1] Rusch and Mishra, 2021, https://arxiv.org/abs/2010.00951
    """

    hidden_size: int
    dt: float = 0.042
    gamma: float = 2.7
    epsilon: float = 4.7
    activation: Activation = activations.tanh
    bias: bool = True

    affine_inputs = True

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: jnp.concatenate([state.y, state.z], axis=-1),
            recurrent=lambda params: Matmul(params.w_h),
            update=self._update,
            inputs=lambda params: params.w_x,
            local=False,  # traces take one part of the state for each unit, not two
        )

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> CoRNNParams:
        """Draws everything uniform in +-1/sqrt(F + 2H), as the authors do."""
        input_size = checks.integer("input_size", input_size, 1)
        checks.dtype("dtype", dtype)
        size, fan_in = self.hidden_size, input_size + 2 * self.hidden_size
        bound = fan_in**-0.5
        shape = (fan_in + 1, size)
        drawn = jax.random.uniform(
            checks.init_key(key), shape, minval=-bound, maxval=bound
        )
        w_x, w_h, b_x = jnp.split(drawn.astype(dtype), [input_size, fan_in])
        return CoRNNParams(w_x, w_h, b_x[0] if self.bias else None)

    def _update(
        self, params: CoRNNParams, state: OscillatorState, p: Array
    ) -> OscillatorState:
        del params
        force = self.activation(p) - self.gamma * state.y - self.epsilon * state.z
        z = state.z + self.dt * force
        return OscillatorState(y=state.y + self.dt * z, z=z)


@exportable
class UnICORNNParams(NamedTuple):
    """Arrays of a UnICORNN with F input features and H oscillators."""

    w_x: Array  # [F, H] input to force
    w_h: Array  # [H] position to force, each oscillator its own
    c: Array  # [H] speed of each oscillator
    b_x: Array | None  # [H] bias


@value
class UnICORNN(_Oscillators):
    """Undamped independent oscillators with learned step sizes, UnICORNN [1].

        s  = dt * sigmoid(c)                       step of each oscillator
        z' = z - s * (activation(x Wx + b + w_h * y) + alpha * y)
        y' = y + s * z'

    Oscillators do not interact within a layer, so several layers are stacked. A step
    preserves volume and is invertible. The Jacobian has one 2 x 2 block per oscillator,
    so real-time recurrent learning is exact with few traces. The state is an
    `OscillatorState`, and the output is y'.

    Attributes:
      hidden_size: The number H of oscillators.
      dt: The largest time step.
      alpha: Squared frequency without input.
      activation: Activation of the force.
      bias: Whether there is a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.UnICORNN(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.z.shape
      ((2, 5, 4), (2, 4))

    References:
      [1] Rusch and Mishra, 2021, https://arxiv.org/abs/2103.05487
    """

    hidden_size: int
    dt: float = 0.1
    alpha: float = 1.0
    activation: Activation = activations.tanh
    bias: bool = True

    @property
    def form(self) -> Plain:
        return Plain(self._step, structure=("block", 2))

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> UnICORNNParams:
        """Draws LeCun-normal w_x, w_h uniform in [0, 1], and c in [-0.1, 0.1]."""
        input_size = checks.integer("input_size", input_size, 1)
        key_x, key_h, key_c = checks.split_key(key, 3)
        size = self.hidden_size
        c = jax.random.uniform(key_c, (size,), minval=-0.1, maxval=0.1)
        return UnICORNNParams(
            w_x=initializers.lecun_normal(key_x, input_size, size, 1, dtype),
            w_h=jax.random.uniform(key_h, (size,)).astype(dtype),
            c=c.astype(dtype),
            b_x=jnp.zeros(size, dtype) if self.bias else None,
        )

    def _step(
        self, params: UnICORNNParams, state: OscillatorState, u: Array
    ) -> OscillatorState:
        s = self.dt * activations.sigmoid(along(params.c, u))
        w_h = along(params.w_h, u)
        force = self.activation(u + w_h * state.y) + self.alpha * state.y
        z = state.z - s * force
        return OscillatorState(y=state.y + s * z, z=z)
