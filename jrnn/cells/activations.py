"""Activations as plain values: they print, pickle, hash and compare.

Activations without options are functions; the others are frozen dataclasses that are
called like functions: `HardSigmoid(slope=1 / 6)`. `jnp.tanh` and `jax.nn.sigmoid` work
too, but they are compiled objects that cannot be pickled.
"""

import jax
import jax.numpy as jnp

from jrnn import options
from jrnn.types import Activation, Array
from jrnn.values import value

_tanh = jax.custom_jvp(jnp.tanh)
# One factor for loops to read, where JAX's own derivative has two.
_tanh.defjvps(lambda dx, y, x: dx * ((1 - y) * (1 + y)))


def tanh(x: Array) -> Array:
    """Hyperbolic tangent.

    Example:
      >>> float(tanh(100.0))
      1.0
    """
    return _tanh(x)


def sigmoid(x: Array) -> Array:
    """Logistic function 1 / (1 + exp(-x)).

    Example:
      >>> float(sigmoid(0.0))
      0.5
    """
    return jax.nn.sigmoid(x)


def relu(x: Array) -> Array:
    """Positive part, with derivative 0 at 0.

    Example:
      >>> float(relu(-2.0))
      0.0
    """
    return jax.nn.relu(x)


def identity(x: Array) -> Array:
    """The argument itself; makes an Elman network linear.

    Example:
      >>> float(identity(3.0))
      3.0
    """
    return x


def relu6(x: Array) -> Array:
    """Positive part, at most 6.

    Example:
      >>> float(relu6(9.0))
      6.0
    """
    return jax.nn.relu6(x)


def softplus(x: Array) -> Array:
    """Smooth positive part log(1 + exp(x)).

    Example:
      >>> round(float(softplus(0.0)), 4)  # log 2
      0.6931
    """
    return jax.nn.softplus(x)


def softsign(x: Array) -> Array:
    """Slow sigmoid x / (1 + |x|).

    Example:
      >>> float(softsign(3.0))
      0.75
    """
    return jax.nn.soft_sign(x)


def silu(x: Array) -> Array:
    """x * sigmoid(x), also called swish.

    Example:
      >>> float(silu(0.0))
      0.0
    """
    return jax.nn.silu(x)


def gelu(x: Array) -> Array:
    """x times the normal distribution function of x, exactly.

    Example:
      >>> float(gelu(0.0))
      0.0
    """
    return jax.nn.gelu(x, approximate=False)


def mish(x: Array) -> Array:
    """x * tanh(softplus(x)) (Misra, 2019, https://arxiv.org/abs/1908.08681).

    Example:
      >>> float(mish(0.0))
      0.0
    """
    return jax.nn.mish(x)


def hard_tanh(x: Array) -> Array:
    """The argument, kept within [-1, 1].

    Example:
      >>> float(hard_tanh(3.0))
      1.0
    """
    return jax.nn.hard_tanh(x)


def selu(x: Array) -> Array:
    """Self-normalizing exponential linear unit (Klambauer et al., 2017).

    Source: https://arxiv.org/abs/1706.02515

    Example:
      >>> round(float(selu(1.0)), 4)
      1.0507
    """
    return jax.nn.selu(x)


def positive(x: Array) -> Array:
    """x + 1/2 where x is positive, the logistic function of x elsewhere.

    Example:
      >>> float(positive(3.0))
      3.5
    """
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


def exponential(x: Array) -> Array:
    """exp(x).

    Example:
      >>> float(exponential(0.0))
      1.0
    """
    return jnp.exp(x)


class _Function:
    """An activation with options."""

    def __post_init__(self) -> None:
        options.check(self)


@value
class LeakyRelu(_Function):
    """x where positive, slope * x elsewhere.

    Example:
      >>> import jax.numpy as jnp
      >>> LeakyRelu(slope=0.5)(jnp.array([-2.0, 3.0])).tolist()
      [-1.0, 3.0]
    """

    slope: float = 0.01

    def __call__(self, x: Array) -> Array:
        return jax.nn.leaky_relu(x, self.slope)


@value
class ThresholdedRelu(_Function):
    """x where above the threshold, 0 elsewhere.

    Example:
      >>> import jax.numpy as jnp
      >>> ThresholdedRelu()(jnp.array([0.5, 3.0])).tolist()
      [0.0, 3.0]
    """

    threshold: float = 1.0

    def __call__(self, x: Array) -> Array:
        return jnp.where(x > self.threshold, x, jnp.zeros_like(x))


@value
class Elu(_Function):
    """x where positive, scale * (exp(x) - 1) elsewhere.

    Example:
      >>> import jax.numpy as jnp
      >>> Elu(scale=2.0)(jnp.array([-100.0, 3.0])).tolist()
      [-2.0, 3.0]
    """

    scale: float = 1.0

    def __call__(self, x: Array) -> Array:
        return jax.nn.elu(x, self.scale)


@value
class ScaledTanh(_Function):
    """scale * tanh(rate * x).

    Example:
      >>> import jax.numpy as jnp
      >>> ScaledTanh(scale=2.0)(jnp.array([0.0, 100.0])).tolist()
      [0.0, 2.0]
    """

    scale: float = 1.0
    rate: float = 1.0

    def __call__(self, x: Array) -> Array:
        return self.scale * tanh(self.rate * x)


@value
class Affine(_Function):
    """slope * x + offset.

    Example:
      >>> import jax.numpy as jnp
      >>> Affine(slope=2.0, offset=1.0)(jnp.array([3.0])).tolist()
      [7.0]
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, x: Array) -> Array:
        return self.slope * x + self.offset


@value
class HardSigmoid(_Function):
    """slope * x + offset, kept within [0, 1].

    The slope is 0.2 in ONNX and in Keras 2, and 1/6 in Keras 3 and PyTorch.

    Example:
      >>> import jax.numpy as jnp
      >>> HardSigmoid(slope=0.25)(jnp.array([-3.0, 1.0, 3.0])).tolist()
      [0.0, 0.75, 1.0]
    """

    slope: float = 0.2
    offset: float = 0.5

    def __call__(self, x: Array) -> Array:
        return jnp.clip(self.slope * x + self.offset, 0, 1)


@value
class Clipped(_Function):
    """An activation whose argument is first kept within [-bound, bound].

    Example:
      >>> import jax.numpy as jnp
      >>> Clipped(identity, bound=2.0)(jnp.array([-3.0, 1.0])).tolist()
      [-2.0, 1.0]
    """

    activation: Activation
    bound: float

    def __call__(self, x: Array) -> Array:
        return self.activation(jnp.clip(x, -self.bound, self.bound))
