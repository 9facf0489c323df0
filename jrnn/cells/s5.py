"""S5: a diagonal state-space model with many inputs and outputs."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import checks, numerics, options
from jrnn.cells.base import VectorCell, zeros
from jrnn.forms import Linear
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable, init_only, value

DISCRETIZATIONS = ("zoh", "bilinear")


@exportable
class S5Params(NamedTuple):
    """Arrays of an S5 layer with F inputs and outputs and H complex states.

    All are real; complex numbers are pairs.
    """

    log_decay: Array  # [H] logarithm of minus the real part of lambda
    frequency: Array  # [H] imaginary part of lambda
    log_step: Array  # [H] logarithm of the time step
    b_re: Array  # [F, H] input to state, real part
    b_im: Array  # [F, H] input to state, imaginary part
    c_re: Array  # [H, F] state to output, real part
    c_im: Array  # [H, F] state to output, imaginary part
    d: Array  # [F] each input to its own output


@exportable
class S5State(NamedTuple):
    """State of an S5 layer: the complex number re + i im, elementwise."""

    re: Array  # [..., H]
    im: Array  # [..., H]


class S5Input(NamedTuple):
    """A projected input: its contributions to the state and to the output."""

    re: Array  # [..., H]
    im: Array  # [..., H]
    y: Array  # [..., F]


@value
class S5(VectorCell):
    """Diagonal state-space model [1], discretized from continuous time.

        ds/dt = lambda * s + x B,   y = 2 Re(s C) + d * x
        lambda = -exp(log_decay) + i frequency,   step = exp(log_step)

        h' = a * h + b * (x B)
        zoh:       a = exp(lambda step),   b = (a - 1) / lambda
        bilinear:  a = (1 + lambda step / 2) / (1 - lambda step / 2),
                   b = step / (1 - lambda step / 2)

    States come in conjugate pairs, of which one is computed: hence the factor 2. `init`
    takes lambda, B and C from the HiPPO-LegS matrix, whose normal part is diagonal in
    the basis of its eigenvectors.

    Attributes:
      hidden_size: The number H of complex states, half of the states of the model.
      features: The number F of inputs and of outputs.
      discretization: "zoh" (zero-order hold) or "bilinear".
      blocks: The number of copies of a smaller HiPPO matrix; divides H.
      step_min: Shortest time step that `init` draws.
      step_max: Longest time step.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.S5(hidden_size=4, features=3)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.re.shape
      ((2, 5, 3), (2, 4))

    References:
      [1] Smith et al., 2023, https://arxiv.org/abs/2208.04933
    """

    hidden_size: int
    features: int
    discretization: str = "zoh"
    blocks: int = init_only(1)
    step_min: float = init_only(1e-3)
    step_max: float = init_only(1e-1)

    def __post_init__(self) -> None:
        options.check(self)
        checks.one_of("discretization", self.discretization, DISCRETIZATIONS)
        checks.divides("blocks", self.blocks, "hidden_size", self.hidden_size)
        checks.positive("step_min", self.step_min)
        checks.at_least("step_max", self.step_max, self.step_min)

    @property
    def output_size(self) -> int:
        return self.features

    @property
    def form(self) -> Linear:
        return Linear(self._coefficients, pair=True)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> S5Params:
        """Draws B and C in the basis of HiPPO, and time steps log-uniformly.

        Raises:
          ValueError: if the input does not have `features` features.
        """
        checks.equal_sizes("the input of S5", input_size, self.features)
        checks.dtype("dtype", dtype)
        key_b, key_c, key_d, key_s = checks.split_key(key, 4)
        size, inputs = self.hidden_size // self.blocks, self.features
        eigenvalues, v = hippo(size)
        real = 2 * size * self.blocks

        def rotate(w: Array, by: np.ndarray) -> Array:  # [F, 2H] to [F, H]
            w = jax.lax.complex(w, jnp.zeros_like(w)) if w.dtype.kind == "f" else w
            w = w.reshape(inputs, self.blocks, 2 * size)
            return jnp.einsum("fbn,nh->fbh", w, jnp.asarray(by, w.dtype))

        b = jax.random.normal(key_b, (inputs, real)) / math.sqrt(inputs)
        b = rotate(b, v.conj()).reshape(inputs, -1)
        c = jax.random.normal(key_c, (2, inputs, real)) / math.sqrt(real)
        c = rotate(jax.lax.complex(c[0], c[1]), v).reshape(inputs, -1).T
        low, high = math.log(self.step_min), math.log(self.step_max)
        every = np.tile(eigenvalues, self.blocks)
        parts = S5Params(
            log_decay=jnp.asarray(np.log(-every.real)),
            frequency=jnp.asarray(every.imag),
            log_step=jax.random.uniform(
                key_s, (self.hidden_size,), minval=low, maxval=high
            ),
            b_re=b.real,
            b_im=b.imag,
            c_re=c.real,
            c_im=c.imag,
            d=jax.random.normal(key_d, (inputs,)),
        )
        return jax.tree.map(lambda leaf: leaf.astype(dtype), parts)

    def initial_state(self, params: S5Params, batch_shape: Shape = ()) -> S5State:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return S5State(zeros(params.d, *shape), zeros(params.d, *shape))

    def project(
        self, params: S5Params, x: Array, *, key: PRNGKey | None = None
    ) -> S5Input:
        """Maps inputs [..., F] to their contributions to the state and the output."""
        del key
        checks.last_axis("xs", x, self.features)
        _, b = self._discrete(params)
        re, im = x @ params.b_re, x @ params.b_im
        parts = b.real.astype(x.dtype), b.imag.astype(x.dtype), params.d
        b_re, b_im, d = (numerics.along(part, x) for part in parts)
        return S5Input(re * b_re - im * b_im, re * b_im + im * b_re, d * x)

    def read(self, params: S5Params, state: S5State, u: S5Input) -> Array:
        """Returns twice the real part of `h C`, plus the input's contribution."""
        return 2 * (state.re @ params.c_re - state.im @ params.c_im) + u.y

    def _coefficients(self, params: S5Params, u: S5Input) -> tuple[Array, Array]:
        a, _ = self._discrete(params)
        wide = numerics.wide(u.re)  # there is no complex number of half precision
        return a, jax.lax.complex(u.re.astype(wide), u.im.astype(wide))

    def _discrete(self, params: S5Params) -> tuple[Array, Array]:
        """Returns a and b, complex [H]."""
        wide = numerics.wide(params.d)
        decay, frequency, log_step = (
            leaf.astype(wide)
            for leaf in (params.log_decay, params.frequency, params.log_step)
        )
        rate = jax.lax.complex(-jnp.exp(decay), frequency)
        step = jax.lax.complex(jnp.exp(log_step), jnp.zeros_like(log_step))
        if self.discretization == "zoh":
            return jnp.exp(rate * step), jnp.expm1(rate * step) / rate
        half = rate * step / 2
        return (1 + half) / (1 - half), step / (1 - half)


def hippo(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns eigenvalues and eigenvectors of the normal part of HiPPO-LegS.

    Args:
      size: Half of the number of states.

    Returns:
      One eigenvalue of each conjugate pair, complex [size], and the eigenvectors,
      complex [2 * size, size].
    """
    root = np.sqrt(np.arange(2 * size) + 0.5)
    skew = np.triu(np.outer(root, root), 1)
    skew = skew - skew.T  # the matrix is skew - 1/2, and skew is diagonal in C
    frequencies, vectors = np.linalg.eigh(-1j * skew)
    order = np.argsort(frequencies)[size:]  # positive ones
    return -0.5 + 1j * frequencies[order], vectors[:, order]
