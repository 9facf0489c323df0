"""Initializers of the biases of gates."""

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.types import Array, DType, GateBias, PRNGKey
from jrnn.values import value


@value
class Chrono:
    """Draws forget-gate biases log(u), u uniform in [1, longest - 1], shape [size].

    A unit with bias b remembers for about exp(b) steps, at most `longest`. For the
    option `forget_bias` of a gated cell.

    Example:
      >>> import jax, jrnn
      >>> Chrono(longest=100)(jax.random.key(0), size=3).shape
      (3,)
      >>> cell = jrnn.LSTM(hidden_size=4, forget_bias=Chrono(longest=784))

    Source: Tallec and Ollivier, 2018, https://arxiv.org/abs/1804.11188
    """

    longest: float

    def __post_init__(self) -> None:
        checks.at_least("longest", self.longest, 2)

    def __call__(self, key: PRNGKey, size: int, dtype: DType = float) -> Array:
        checks.init_key(key)
        u = jax.random.uniform(key, (size,), minval=1.0, maxval=self.longest - 1.0)
        return jnp.log(u).astype(dtype)


def uniform_gate(key: PRNGKey, size: int, dtype: DType = float) -> Array:
    """Draws biases so that sigmoid(b) is uniform in [1/size, 1 - 1/size], shape [size].

        b = -log(1/u - 1)

    Raises:
      ValueError: if `size` is below 2.

    Example:
      >>> import jrnn
      >>> cell = jrnn.LSTM(hidden_size=4, forget_bias=uniform_gate)

    Source: Gu et al., 2020, https://arxiv.org/abs/1910.09890
    """
    checks.init_key(key)
    checks.at_least("size", size, 2)
    u = jax.random.uniform(key, (size,), minval=1 / size, maxval=1 - 1 / size)
    return -jnp.log(1 / u - 1).astype(dtype)


def forget_gate(
    key: PRNGKey, start: float | GateBias, b: Array, remembers: tuple[int, ...]
) -> Array:
    """Adds the initial value of the forget gate to a bias [k*H].

    Args:
      key: Source of randomness.
      start: A number, or a function that draws one value for each unit.
      b: The bias.
      remembers: For each of the k gates the sign, 1, -1 or 0, with which its bias takes
        the value. Values that are drawn are added to gates with the sign 1 and
        subtracted from gates with the sign -1, which start as 1 minus the others. A
        number is only added to gates with the sign 1, if there are any.

    Returns:
      The sum, [k*H].

    Raises:
      TypeError: if `start` is a function and `key` is not a key of JAX.

    Example:
      >>> key, b = jax.random.key(0), jnp.zeros(8)  # the gates i, f, g, o of two units
      >>> forget_gate(key, 1.0, b, remembers=(-1, 1, 0, 0)).tolist()
      [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    if callable(start):
        checks.init_key(key)
        bias = start(jax.random.fold_in(key, 1), b.size // len(remembers), b.dtype)
    else:
        bias = jnp.full(b.size // len(remembers), start, b.dtype)
        if 1 in remembers:
            remembers = tuple(max(sign, 0) for sign in remembers)
    return b + jnp.concatenate([sign * bias for sign in remembers])
