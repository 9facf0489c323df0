"""Real-gated linear recurrent unit, of Griffin."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers, options
from jrnn.cells import activations
from jrnn.cells.base import VectorCell, zeros
from jrnn.forms import BlockDiagonal, Form, Linear, Plain
from jrnn.numerics import along
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value

_DECAY = 8.0  # the c of the paper
_STEEPEST = 1000.0  # largest derivative of the square root


@exportable
class RGLRUParams(NamedTuple):
    """Arrays of an RG-LRU with H units in heads of D = H / heads."""

    decay: Array  # [H] Lambda: softplus of it is the rate of decay
    w_x: Array  # [heads, D, 2D] input to recurrence gate r and input gate i
    b_x: Array  # [2H] biases of r and i


@exportable
class RGLRUState(NamedTuple):
    """State of an RG-LRU."""

    h: Array  # [..., H]
    first: Array | None  # [..., H] one before the first step, with `first_unscaled`


class RGLRUInput(NamedTuple):
    """A projected input."""

    x: Array  # [..., H]
    log_a: Array  # [..., H]
    i: Array  # [..., H] input gate
    r: Array  # [..., H] recurrence gate


@value
class RGLRU(VectorCell):
    """Real-gated linear recurrent unit [1]; the output is the new state.

        r  = sigmoid(x Wr + br)                          recurrence gate
        i  = sigmoid(x Wi + bi)                          input gate
        a  = exp(-8 softplus(decay) * r)
        h' = a * h + sqrt(1 - a^2) * (i * x)

    Inputs have as many features as there are units, and Wr and Wi are block-diagonal.
    `init` draws exp(-softplus(decay)) from [0.9, 0.999] such that its square is
    uniform. The derivative of the square root is at most 1000.

    Attributes:
      hidden_size: The number H of hidden units, and of input features.
      heads: The number of blocks of Wr and Wi, which divides H.
      first_unscaled: Whether the first step of a sequence adds i * x without the factor
        sqrt(1 - a^2), as in the published code. The cell then has another state, and is
        not linear in it.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.RGLRU(hidden_size=4, heads=2)
      >>> params = cell.init(jax.random.key(0), input_size=4)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 4)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] De et al., 2024, https://arxiv.org/abs/2402.19427
    """

    hidden_size: int
    heads: int = 1
    first_unscaled: bool = False

    def __post_init__(self) -> None:
        options.check(self)
        checks.divides("heads", self.heads, "hidden_size", self.hidden_size)

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    def form(self) -> Form:
        if self.first_unscaled:
            return Plain(self._step, ("block", 2), self._gates, local=False)
        return Linear(self._coefficients, gates=self._gates, local=False)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> RGLRUParams:
        """Draws LeCun normal weights, zero biases, and the decay.

        Raises:
          ValueError: if the input does not have as many features as there are units.
        """
        checks.equal_sizes("the input of RGLRU", input_size, self.hidden_size)
        checks.dtype("dtype", dtype)
        key_x, key_a = checks.split_key(key)
        size = self.hidden_size // self.heads
        w_x = jax.vmap(
            lambda k: initializers.lecun_normal(k, size, size, 2, jnp.float32)
        )(jax.random.split(key_x, self.heads))
        radius2 = jax.random.uniform(
            key_a, (self.hidden_size,), minval=0.9**2, maxval=0.999**2
        )
        # softplus(decay) = -log(radius)
        decay = jnp.log(jnp.expm1(-0.5 * jnp.log(radius2)))
        return RGLRUParams(
            decay.astype(dtype),
            w_x.astype(dtype),
            jnp.zeros(2 * self.hidden_size, dtype),
        )

    def initial_state(self, params: RGLRUParams, batch_shape: Shape = ()) -> RGLRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        h = zeros(params.decay, *batch_shape, self.hidden_size)
        return RGLRUState(h, jnp.ones_like(h) if self.first_unscaled else None)

    def project(
        self, params: RGLRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> RGLRUInput:
        """Computes both gates and the logarithm of a, each [..., H]."""
        del key
        checks.last_axis("xs", x, self.hidden_size)
        gates = BlockDiagonal(params.w_x)(x) + along(params.b_x, x)
        r, i = (activations.sigmoid(gate) for gate in jnp.split(gates, 2, axis=-1))
        log_a = -_DECAY * r * along(jax.nn.softplus(params.decay), r)
        return RGLRUInput(x, log_a, i, r)

    def read(self, params: RGLRUParams, state: RGLRUState, u: RGLRUInput) -> Array:
        """Returns h."""
        del params, u
        return state.h

    def _gates(self, params: Any, state: Any, u: RGLRUInput) -> dict[str, Array]:
        del params, state
        return {"r": u.r, "i": u.i}

    def _coefficients(self, params: Any, u: RGLRUInput) -> tuple[Any, Any]:
        del params
        scale = _bounded_sqrt(-jnp.expm1(2 * u.log_a))
        addend = scale * (u.i * u.x)
        return RGLRUState(jnp.exp(u.log_a), None), RGLRUState(addend, None)

    def _step(self, params: Any, state: RGLRUState, u: RGLRUInput) -> RGLRUState:
        a, b = self._coefficients(params, u)
        first: Any = state.first
        addend = first * (u.i * u.x) + (1 - first) * b.h
        return RGLRUState(a.h * state.h + addend, jnp.zeros_like(first))


@jax.custom_jvp
def _bounded_sqrt(x: Array) -> Array:
    """The square root, whose derivative is infinite at zero and is bounded here."""
    return jnp.sqrt(x)


@_bounded_sqrt.defjvp
def _bounded_sqrt_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return jnp.sqrt(x), dx * jax.lax.rsqrt(jnp.maximum(4 * x, _STEEPEST**-2))
