"""Linear recurrent unit: a complex diagonal recurrence."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers, numerics
from jrnn.cells.base import VectorCell, zeros
from jrnn.forms import Linear
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class LRUParams(NamedTuple):
    """Arrays of an LRU with F input, H hidden and O output features.

    All are real; complex numbers are pairs. Gradients, optimizers and half precision
    work as they do for any other cell.
    """

    nu: Array  # [H] log of the rate of decay: |lambda| = exp(-exp(nu))
    theta: Array  # [H] log of the phase of lambda
    gamma: Array  # [H] log of the gain of the input
    w_re: Array  # [F, H] input to state, real part
    w_im: Array  # [F, H] input to state, imaginary part
    c_re: Array  # [H, O] state to output, real part
    c_im: Array  # [H, O] state to output, imaginary part
    d: Array  # [F, O] input to output


@exportable
class LRUState(NamedTuple):
    """State of an LRU: the complex number re + i im, elementwise."""

    re: Array  # [..., H]
    im: Array  # [..., H]


class LRUInput(NamedTuple):
    """A projected input: its contributions to the state and to the output."""

    re: Array  # [..., H]
    im: Array  # [..., H]
    y: Array  # [..., O]


@value
class LRU(VectorCell):
    """Linear recurrent unit [1].

        lambda = exp(-exp(nu) + i exp(theta))
        h'     = lambda * h + exp(gamma) * (x W)         W = w_re + i w_im
        y      = Re(h' C) + x D                          C = c_re + i c_im

    |lambda| < 1 for all parameters, so the recurrence is stable. `init` draws
    lambda uniformly on a ring of the complex plane, and the gain
    exp(gamma) = sqrt(1 - |lambda|^2) gives h the scale of x W. There is no activation:
    put a nonlinear layer, such as a `jrnn.Map` of an activation, between two of these.

    Attributes:
      hidden_size: The number H of complex hidden units.
      output_features: The number O of output features; None for H.
      r_min: Inner radius of the ring that lambda is drawn from.
      r_max: Outer radius; below 1, or the longest memory is unbounded.
      max_phase: Largest angle of lambda; small angles favor slow variation.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LRU(hidden_size=4, r_min=0.9, r_max=0.99)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.re.shape
      ((2, 5, 4), (2, 4))

    References:
      [1] Orvieto et al., 2023, https://arxiv.org/abs/2303.06349
    """

    hidden_size: int
    output_features: int | None = None
    r_min: float = init_only(0.0)
    r_max: float = init_only(0.99)
    max_phase: float = init_only(2 * math.pi)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.probability("r_max", self.r_max)
        checks.at_least("r_min", self.r_min, 0)
        checks.at_least("r_max", self.r_max, self.r_min)
        checks.positive("max_phase", self.max_phase)

    @property
    def output_size(self) -> int:
        return self.output_features or self.hidden_size

    @property
    def form(self) -> Linear:
        return Linear(self._coefficients, pair=True)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> LRUParams:
        """Draws parameters for inputs [..., input_size]."""
        input_size = checks.integer("input_size", input_size, 1)
        size, out = self.hidden_size, self.output_size
        key_r, key_p, key_re, key_im, key_c, key_s, key_d = checks.split_key(key, 7)
        tiny = jnp.finfo(jnp.float32).tiny
        squares = (max(self.r_min**2, 1e-8), max(self.r_max**2, 2e-8))
        radius2 = jax.random.uniform(
            key_r, (size,), minval=squares[0], maxval=squares[1]
        )
        phase = self.max_phase * jax.random.uniform(key_p, (size,), minval=tiny)
        draw = initializers.lecun_normal
        half = math.sqrt(0.5)  # each part has half of the variance
        return LRUParams(
            nu=jnp.log(-0.5 * jnp.log(radius2)).astype(dtype),
            theta=jnp.log(phase).astype(dtype),
            gamma=(0.5 * jnp.log1p(-radius2)).astype(dtype),
            w_re=half * draw(key_re, input_size, size, 1, dtype),
            w_im=half * draw(key_im, input_size, size, 1, dtype),
            c_re=draw(key_c, size, out, 1, dtype),
            c_im=draw(key_s, size, out, 1, dtype),
            d=draw(key_d, input_size, out, 1, dtype),
        )

    def initial_state(self, params: LRUParams, batch_shape: Shape = ()) -> LRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return LRUState(re=zeros(params.nu, *shape), im=zeros(params.nu, *shape))

    def project(
        self, params: LRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> LRUInput:
        """Maps inputs [..., F] to their contributions to the state and the output."""
        del key
        checks.last_axis("xs", x, params.w_re.shape[0])
        gain = numerics.along(jnp.exp(params.gamma), x)
        return LRUInput(
            re=gain * (x @ params.w_re), im=gain * (x @ params.w_im), y=x @ params.d
        )

    def read(self, params: LRUParams, state: LRUState, u: LRUInput) -> Array:
        """Returns the real part of `h C`, plus the input's contribution [..., O]."""
        return state.re @ params.c_re - state.im @ params.c_im + u.y

    def _coefficients(self, params: LRUParams, u: LRUInput) -> tuple[Array, Array]:
        """Returns lambda, complex [H], and what the input adds, complex [..., H]."""
        wide = numerics.wide(u.re)  # there is no complex number of half precision
        radius, phase = jnp.exp(-jnp.exp(params.nu)), jnp.exp(params.theta)
        parts = (radius * jnp.cos(phase), radius * jnp.sin(phase), u.re, u.im)
        re, im, b_re, b_im = (part.astype(wide) for part in parts)
        return jax.lax.complex(re, im), jax.lax.complex(b_re, b_im)
