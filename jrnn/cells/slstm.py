"""sLSTM, the scalar memory of xLSTM."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers, options
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import HiddenCell, zeros
from jrnn.forms import BlockDiagonal, Gated
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class SLSTMParams(NamedTuple):
    """Arrays of an sLSTM with F inputs and H units in heads of D = H / heads.

    Gates are concatenated along the last axis, in the order i, f, z, o.
    """

    w_x: Array  # [F, 4H] input to gates
    w_h: Array  # [heads, D, 4D] each head to its own gates
    b_x: Array  # [4H]


@exportable
class SLSTMState(NamedTuple):
    """State of an sLSTM."""

    h: Array  # [..., H]
    c: Array  # [..., H] cell state, times exp(-m)
    n: Array  # [..., H] normalizer, times exp(-m)
    m: Array  # [..., H] stabilizer: logarithm of the largest weight in c


@value
class SLSTM(HiddenCell):
    """LSTM with an exponential input gate and a normalizer [1].

        i, f, z, o = x W + b + h R                       R mixes units within a head
        m' = max(log sigmoid(f) + m, i)                  stabilizer
        i* = exp(i - m'),  f* = exp(log sigmoid(f) + m - m')
        c' = f* * c + i* * tanh(z)
        n' = f* * n + i*
        h' = sigmoid(o) * c' / n'

    The stabilizer keeps exponentials from overflowing and cancels out of h'. In the
    first step, where n = 0, it is i.

    Attributes:
      hidden_size: The number H of hidden units.
      heads: The number of blocks of R, which divides H.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.SLSTM(hidden_size=4, heads=2)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Beck et al., 2024, https://arxiv.org/abs/2405.04517
    """

    hidden_size: int
    heads: int = 1

    def __post_init__(self) -> None:
        options.check(self)
        checks.divides("heads", self.heads, "hidden_size", self.hidden_size)

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: BlockDiagonal(params.w_h),
            update=self._update,
            gates=self._gates,
            local=self.heads == 1,
        )

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> SLSTMParams:
        """Draws LeCun normal weights; biases of the forget gate run from 3 to 6."""
        input_size = checks.integer("input_size", input_size, 1)
        key_x, key_h = checks.split_key(key)
        size = self.hidden_size // self.heads
        draw = initializers.lecun_normal
        w_h = jax.vmap(lambda k: draw(k, size, size, 4, jnp.float32))(
            jax.random.split(key_h, self.heads)
        )
        f = jnp.linspace(3.0, 6.0, self.hidden_size)
        b_x = jnp.zeros((4, self.hidden_size)).at[1].set(f)
        return SLSTMParams(
            draw(key_x, input_size, self.hidden_size, 4, dtype),
            w_h.astype(dtype),
            b_x.ravel().astype(dtype),
        )

    def initial_state(self, params: SLSTMParams, batch_shape: Shape = ()) -> SLSTMState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return SLSTMState(*(zeros(params.w_x, *shape) for _ in range(4)))

    def project(
        self, params: SLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to gates, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), 4)

    def _update(self, params: Any, state: SLSTMState, p: Gates) -> SLSTMState:
        m, i, f = self._weights(state, p)
        c = f * state.c + i * jnp.tanh(p[2])
        n = f * state.n + i
        return SLSTMState(activations.sigmoid(p[3]) * c / n, c, n, m)

    def _gates(self, params: Any, state: SLSTMState, p: Gates) -> dict[str, Array]:
        del params
        _, i, f = self._weights(state, p)
        return {"i": i, "f": f, "o": activations.sigmoid(p[3])}

    def _weights(self, state: SLSTMState, p: Gates) -> tuple[Array, Array, Array]:
        """Returns the new stabilizer, and the gates times exp(-m)."""
        kept, first = jax.nn.log_sigmoid(p[1]) + state.m, state.n == 0
        m = jnp.where(first, p[0], jnp.maximum(kept, p[0]))
        # In the first step, exp(kept - m) may overflow, and its gradient be NaN.
        f = jnp.exp(jnp.where(first, 0, kept - m))
        return m, jnp.exp(p[0] - m), jnp.where(first, 0, f)
