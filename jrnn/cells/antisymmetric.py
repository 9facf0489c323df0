"""Recurrent network whose recurrent weights are antisymmetric."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers, options
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import HiddenState, zeros
from jrnn.cells.orthogonal import skew
from jrnn.forms import Gated, Matmul
from jrnn.types import Activation, Array, Cell, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class AntisymmetricParams(NamedTuple):
    """Arrays of an antisymmetric network with F input features and H hidden units.

    The gates are concatenated along the last axis, in the order n, z; k is 1 or 2.
    """

    w_x: Array  # [F, k*H] input to candidate and gate
    w_h: Array  # [H (H - 1) / 2] A below the diagonal; after `prepare` A - gamma I
    b_x: Array | None  # [k*H] bias


@value
class AntisymmetricRNN(Cell):
    """Recurrent network with stable and long memory [1]; the output is the new state.

        v  = h (A - gamma I)                      A = -A^T
        n  = activation(x Wxn + bn + v)
        z  = sigmoid(x Wxz + bz + v)              with `gated`, else 1
        h' = h + epsilon * z * n

    One Euler step of an ordinary differential equation whose Jacobian has eigenvalues
    near the imaginary axis: a gradient neither vanishes nor explodes over many steps.
    The gate shares the recurrent weights. The state is a `HiddenState`.

    Attributes:
      hidden_size: The number H of hidden units, at least 2.
      epsilon: Size of the Euler step.
      gamma: Damping, which keeps the Euler steps stable.
      gated: Whether there is an update gate.
      activation: Activation of the candidate.
      bias: Whether there is a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.AntisymmetricRNN(hidden_size=4, epsilon=0.1)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Chang et al., 2019, https://arxiv.org/abs/1902.09689
    """

    hidden_size: int
    epsilon: float = 0.01
    gamma: float = 0.01
    gated: bool = False
    activation: Activation = activations.tanh
    bias: bool = True

    feature_axes = 1

    def __post_init__(self) -> None:
        options.check(self)
        checks.positive("epsilon", self.epsilon)
        checks.at_least("hidden_size", self.hidden_size, 2)

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Matmul(params.w_h),
            combine=lambda params, u, v: tuple(part + v for part in u),
            update=self._update,
            gates=self._gates if self.gated else None,
            local=False,  # an entry of A reaches two units
        )

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> AntisymmetricParams:
        """Draws LeCun-normal input weights, and normal A of deviation 1 / sqrt(H)."""
        input_size = checks.integer("input_size", input_size, 1)
        key_x, key_h = checks.split_key(key)
        size, blocks = self.hidden_size, 2 if self.gated else 1
        a = jax.random.normal(key_h, (size * (size - 1) // 2,)) / size**0.5
        return AntisymmetricParams(
            w_x=initializers.lecun_normal(key_x, input_size, size, blocks, dtype),
            w_h=a.astype(dtype),
            b_x=jnp.zeros(blocks * size, dtype) if self.bias else None,
        )

    def initial_state(
        self, params: AntisymmetricParams, batch_shape: Shape = ()
    ) -> HiddenState:
        """Returns zeros of shape [*batch_shape, H]."""
        return HiddenState(h=zeros(params.w_h, *batch_shape, self.hidden_size))

    def prepare(
        self,
        params: AntisymmetricParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> AntisymmetricParams:
        """Returns parameters whose `w_h` is the matrix A - gamma I."""
        del key, batch_shape
        a = skew(params.w_h)
        one = jnp.eye(self.hidden_size, dtype=a.dtype)
        return params._replace(w_h=a - self.gamma * one)

    def project(
        self, params: AntisymmetricParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to n, and to z if gated."""
        del key
        return split(affine(x, params.w_x, params.b_x), 2 if self.gated else 1)

    def read(self, params: AntisymmetricParams, state: HiddenState, u: Gates) -> Array:
        """Returns h."""
        del params, u
        return state.h

    def _update(
        self, params: AntisymmetricParams, state: HiddenState, p: Gates
    ) -> HiddenState:
        del params
        change = self.activation(p[0])
        if self.gated:
            change = activations.sigmoid(p[1]) * change
        return HiddenState(h=state.h + self.epsilon * change)

    def _gates(
        self, params: AntisymmetricParams, state: HiddenState, p: Gates
    ) -> dict[str, Array]:
        del params, state
        return {"z": activations.sigmoid(p[1])}
