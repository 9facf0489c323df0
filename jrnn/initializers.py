"""Initializers: functions from a random key and sizes to arrays of parameters."""

import functools
import math
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.types import Array, DType, GateBias, PRNGKey
from jrnn.values import value


class Draw(Protocol):
    """Draws `blocks` matrices of shape [fan_in, size] and concatenates them."""

    def __call__(
        self, key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
    ) -> Array: ...


class Scheme(NamedTuple):
    """The default initializers of a library for a recurrent cell.

    Attributes:
      w_x: The initializer of the input weights, [F, k*H].
      w_h: The initializer of the recurrent weights, [H, k*H].
      bias: Biases are uniform in +-bias/sqrt(H).
      forget_bias: The value added to the bias of the forget gate.
      joint_fan_in: Whether `w_x` draws both matrices as one array [F + H, k*H].
    """

    w_x: Draw
    w_h: Draw
    bias: float = 0.0
    forget_bias: float = 0.0
    joint_fan_in: bool = False


def lecun_normal(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Draws normal entries of variance 1 / fan_in, shape [fan_in, blocks * size].

    Example:
      >>> lecun_normal(jax.random.key(0), 3, 4, 2, float).shape
      (3, 8)
    """
    shape = (fan_in, blocks * size)
    return _wide(jax.nn.initializers.lecun_normal(), key, shape, dtype)


def glorot_uniform(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Draws uniform entries in +-sqrt(6 / (fan_in + blocks * size)).

    The fan-out includes all blocks, as in Keras.

    Example:
      >>> glorot_uniform(jax.random.key(0), 3, 4, 2, float).shape
      (3, 8)
    """
    shape = (fan_in, blocks * size)
    return _wide(jax.nn.initializers.glorot_uniform(), key, shape, dtype)


def orthogonal(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Draws one orthogonal matrix per block, shape [fan_in, blocks * size].

    With one block per gate, `w[:, :size].T @ w[:, :size]` is the identity.

    Example:
      >>> w = orthogonal(jax.random.key(0), 3, 3, 2, float)
      >>> bool(jnp.allclose(w[:, :3].T @ w[:, :3], jnp.eye(3), atol=1e-6))
      True
    """
    draw = jax.nn.initializers.orthogonal()
    keys = jax.random.split(key, blocks)
    return jnp.concatenate([_wide(draw, k, (fan_in, size), dtype) for k in keys], -1)


def orthogonal_fused(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Draws one orthogonal matrix [fan_in, blocks * size], whose *rows* have norm one.

    Keras and Flax NNX do this. The gain of each gate is 1/sqrt(blocks) of that of
    `orthogonal`.

    Example:
      >>> w = orthogonal_fused(jax.random.key(0), 3, 3, 2, float)
      >>> bool(jnp.allclose(w @ w.T, jnp.eye(3), atol=1e-6))
      True
    """
    shape = (fan_in, blocks * size)
    return _wide(jax.nn.initializers.orthogonal(), key, shape, dtype)


def identity(key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType) -> Array:
    """Returns concatenated identity matrices, for ReLU networks (Le et al., 2015).

    Example:
      >>> identity(jax.random.key(0), 2, 2, 2, float).tolist()
      [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]

    Source: https://arxiv.org/abs/1504.00941
    """
    del key
    return jnp.tile(jnp.eye(fan_in, size, dtype=dtype), (1, blocks))


def uniform(key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType) -> Array:
    """Draws uniform entries in +-1/sqrt(size), as PyTorch does for all RNN arrays.

    Example:
      >>> uniform(jax.random.key(0), 3, 4, 2, float).shape
      (3, 8)
    """
    bound = 1 / math.sqrt(size)
    return _uniform(key, (fan_in, blocks * size), bound, dtype)


def truncated_normal(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Draws from a normal of deviation 1/sqrt(fan_in), truncated at two deviations.

    Example:
      >>> truncated_normal(jax.random.key(0), 3, 4, 2, float).shape
      (3, 8)
    """
    draw = jax.nn.initializers.truncated_normal(1 / math.sqrt(fan_in))
    return _wide(draw, key, (fan_in, blocks * size), dtype)


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
    checks.at_least("size", size, 2)
    u = jax.random.uniform(key, (size,), minval=1 / size, maxval=1 - 1 / size)
    return -jnp.log(1 / u - 1).astype(dtype)


def small_normal(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Draws normal entries of deviation 0.001, as the inputs of an IRNN."""
    draw = jax.nn.initializers.normal(0.001)
    return _wide(draw, key, (fan_in, blocks * size), dtype)


SCHEMES = {
    "jrnn": Scheme(lecun_normal, orthogonal, forget_bias=1.0),
    "torch": Scheme(uniform, uniform, bias=1.0),
    "keras": Scheme(glorot_uniform, orthogonal_fused, forget_bias=1.0),
    "flax": Scheme(lecun_normal, orthogonal),
    "nnx": Scheme(lecun_normal, orthogonal_fused),
    "haiku": Scheme(truncated_normal, truncated_normal),
    "haiku/gru": Scheme(lecun_normal, lecun_normal),
    "haiku/lstm": Scheme(truncated_normal, truncated_normal, 0.0, 1.0, True),
    "irnn": Scheme(small_normal, identity),
}


def scheme(name: str, kind: str) -> Scheme:
    """Returns the initializers of a library for an "elman", "gru" or "lstm" cell.

    Names are "jrnn", "torch", "keras", "flax" (Linen), "nnx" and "haiku"; and "irnn",
    that of Le et al., 2015, https://arxiv.org/abs/1504.00941.

    Raises:
      ValueError: if there is none of this name.
    """
    checks.one_of("scheme", name, [row for row in SCHEMES if "/" not in row])
    return SCHEMES.get(f"{name}/{kind}", SCHEMES[name])


def recurrent_weights(
    key: PRNGKey,
    scheme: Scheme,
    input_size: int,
    size: int,
    blocks: int,
    dtype: DType,
    *,
    bias: bool = True,
    separate_biases: bool = False,
    state_size: int | None = None,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Draws what most gated cells hold: two matrices and up to two biases.

    Args:
      key: Source of randomness.
      scheme: A result of the function `scheme`.
      input_size: The number F of input features.
      size: The number H of hidden units.
      blocks: The number k of gates.
      dtype: Of the arrays.
      bias: Whether there is a bias.
      separate_biases: Whether there is a second one, for the matmul of the state.
      state_size: The number of state entries that the gates read; None for H.

    Returns:
      w_x [F, k*H], w_h [state_size, k*H], b_x [k*H] and b_h [k*H]; None for a bias that
      is not asked for.
    """
    input_size = checks.integer("input_size", input_size, 1)
    read = size if state_size is None else state_size
    key_x, key_h, key_b, key_c = jax.random.split(key, 4)
    if scheme.joint_fan_in:
        both = scheme.w_x(key_x, input_size + read, size, blocks, dtype)
        w_x, w_h = both[:input_size], both[input_size:]
    else:
        w_x = scheme.w_x(key_x, input_size, size, blocks, dtype)
        w_h = scheme.w_h(key_h, read, size, blocks, dtype)
    b_x = biases(key_b, scheme, size, blocks, dtype) if bias else None
    b_h = biases(key_c, scheme, size, blocks, dtype) if separate_biases else None
    return w_x, w_h, b_x, b_h


def forget_gate(
    key: PRNGKey, start: float | GateBias, b: Array, remembers: tuple[int, ...]
) -> Array:
    """Adds the initial value of the forget gate to a bias [k*H].

    Args:
      key: Source of randomness.
      start: A number, or a function that draws one value for each unit.
      b: The bias.
      remembers: For each of the k gates the sign, 1, -1 or 0, with which its bias takes
        the value. If one has the sign 1, a number goes to that one only: drawn values
        are long memories, and the gates that let the input in start as 1 minus them.
    """
    if callable(start):
        bias = start(jax.random.fold_in(key, 1), b.size // len(remembers), b.dtype)
    else:
        bias = jnp.full(b.size // len(remembers), start, b.dtype)
        if 1 in remembers:
            remembers = tuple(max(sign, 0) for sign in remembers)
    return b + jnp.concatenate([sign * bias for sign in remembers])


def biases(key: PRNGKey, scheme: Scheme, size: int, blocks: int, dtype: DType) -> Array:
    """Draws biases [blocks * H]: zero, or uniform if the scheme says so."""
    return _uniform(key, (blocks * size,), scheme.bias / math.sqrt(size), dtype)


def _wide(draw, key, shape, dtype) -> Array:  # type: ignore[no-untyped-def]
    # LAPACK does not support half precision, and normals drawn with it are inaccurate.
    wide = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32
    return draw(key, shape, wide).astype(dtype)


def _uniform(key: PRNGKey, shape: tuple[int, ...], bound: float, dtype: DType) -> Array:
    if bound == 0:
        return jnp.zeros(shape, dtype)
    draw = functools.partial(jax.random.uniform, minval=-bound, maxval=bound)
    return _wide(draw, key, shape, dtype)
