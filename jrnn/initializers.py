"""Ways to draw initial parameters: a key and sizes in, an array out."""

import functools
import math
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.types import Array, DType, PRNGKey


class Draw(Protocol):
    """Draws `blocks` kernels of shape [fan_in, size] side by side."""

    def __call__(
        self, key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
    ) -> Array: ...


class Scheme(NamedTuple):
    """How a library draws the arrays of a recurrent cell by default.

    Attributes:
      w_x: Draws the kernel of the input, [F, k*H].
      w_h: Draws the kernel of the state, [H, k*H].
      bias: Half width of the uniform law of the biases in units of 1/sqrt(H).
      forget_bias: What is added to the forget gate's bias.
      joint_fan_in: Whether both kernels are drawn as one [F + H, k*H] by `w_x`.
    """

    w_x: Draw
    w_h: Draw
    bias: float = 0.0
    forget_bias: float = 0.0
    joint_fan_in: bool = False


def lecun_normal(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Normal entries of variance 1 / fan_in, shape [fan_in, blocks * size]."""
    shape = (fan_in, blocks * size)
    return _wide(jax.nn.initializers.lecun_normal(), key, shape, dtype)


def glorot_uniform(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Uniform entries in +-sqrt(6 / (fan_in + blocks * size)): the matrix as a whole.

    Keras counts all gates in the fan-out; so does this.
    """
    shape = (fan_in, blocks * size)
    return _wide(jax.nn.initializers.glorot_uniform(), key, shape, dtype)


def orthogonal(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Independent orthogonal matrices side by side, shape [fan_in, blocks * size].

    One block per gate: `w[:, :size].T @ w[:, :size]` is the identity.
    """
    draw = jax.nn.initializers.orthogonal()
    keys = jax.random.split(key, blocks)
    return jnp.concatenate([_wide(draw, k, (fan_in, size), dtype) for k in keys], -1)


def orthogonal_fused(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """One orthogonal matrix [fan_in, blocks * size]: its *rows* have norm one.

    What Keras and Flax NNX draw. Each gate then has only 1/sqrt(blocks) of the gain of
    `orthogonal`.
    """
    shape = (fan_in, blocks * size)
    return _wide(jax.nn.initializers.orthogonal(), key, shape, dtype)


def identity(key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType) -> Array:
    """Identity matrices side by side, for ReLU networks (Le et al., 2015).

    Source: https://arxiv.org/abs/1504.00941
    """
    del key  # nothing is drawn
    return jnp.tile(jnp.eye(fan_in, size, dtype=dtype), (1, blocks))


def uniform(key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType) -> Array:
    """Uniform entries in +-1/sqrt(size), as PyTorch draws every array of its RNNs."""
    bound = 1 / math.sqrt(size)
    return _uniform(key, (fan_in, blocks * size), bound, dtype)


def truncated_normal(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Normal entries of deviation 1/sqrt(fan_in) before truncation at two of them."""
    draw = jax.nn.initializers.truncated_normal(1 / math.sqrt(fan_in))
    return _wide(draw, key, (fan_in, blocks * size), dtype)


def chrono(
    key: PRNGKey, size: int, longest: float, dtype: DType = jnp.float32
) -> Array:
    """Forget-gate biases log(u), u uniform in [1, longest - 1], shape [size].

    A unit with bias b forgets over about exp(b) steps. The input gate takes the
    negative of the same numbers: `-chrono(...)`.

    Example:
      >>> import jax
      >>> chrono(jax.random.key(0), size=3, longest=100).shape
      (3,)

    Source: Tallec and Ollivier, 2018, https://arxiv.org/abs/1804.11188
    """
    checks.at_least("longest", longest, 2)
    u = jax.random.uniform(key, (size,), minval=1.0, maxval=longest - 1.0)
    return jnp.log(u).astype(dtype)


def uniform_gate(key: PRNGKey, size: int, dtype: DType = jnp.float32) -> Array:
    """Biases that make a gate's opening uniform in [1/size, 1 - 1/size], shape [size].

        b = -log(1/u - 1)

    Source: Gu et al., 2019, https://arxiv.org/abs/1910.09890
    """
    checks.at_least("size", size, 2)
    u = jax.random.uniform(key, (size,), minval=1 / size, maxval=1 - 1 / size)
    return -jnp.log(1 / u - 1).astype(dtype)


SCHEMES = {
    "jrnn": Scheme(lecun_normal, orthogonal, forget_bias=1.0),
    "torch": Scheme(uniform, uniform, bias=1.0),
    "keras": Scheme(glorot_uniform, orthogonal_fused, forget_bias=1.0),
    "flax": Scheme(lecun_normal, orthogonal),
    "nnx": Scheme(lecun_normal, orthogonal_fused),
    "haiku": Scheme(truncated_normal, truncated_normal),
    "haiku/gru": Scheme(lecun_normal, lecun_normal),
    "haiku/lstm": Scheme(truncated_normal, truncated_normal, 0.0, 1.0, True),
}


def scheme(name: str, kind: str) -> Scheme:
    """Returns how a library draws a cell of this kind: "elman", "gru" or "lstm".

    Names are "jrnn", "torch", "keras", "flax" (Linen), "nnx" and "haiku".
    """
    checks.one_of("scheme", name, [row for row in SCHEMES if "/" not in row])
    return SCHEMES.get(f"{name}/{kind}", SCHEMES[name])


def recurrent_weights(
    key: PRNGKey,
    how: Scheme,
    bias: str | None,
    input_size: int,
    size: int,
    blocks: int,
    dtype: DType,
    state_size: int | None = None,
) -> tuple[tuple[Array, Array], tuple[Array | None, Array | None]]:
    """Draws what most gated cells hold: two kernels, and as many biases as asked.

    Args:
      key: Source of randomness.
      how: From `scheme`.
      bias: "single", "double" or None.
      input_size: The number F of input features.
      size: The number H of hidden units.
      blocks: The number k of gates.
      dtype: Of the arrays.
      state_size: The number of entries of the state that the gates read; None for H.

    Returns:
      The kernels [F, k*H] and [state_size, k*H], and the biases [k*H] or None.
    """
    checks.one_of("bias", bias, ["single", "double", None])
    checks.at_least("input_size", input_size, 1)
    checks.at_least("hidden_size", size, 1)
    read = size if state_size is None else state_size
    key_x, key_h, key_b, key_c = jax.random.split(key, 4)
    if how.joint_fan_in:
        both = how.w_x(key_x, input_size + read, size, blocks, dtype)
        w_x, w_h = both[:input_size], both[input_size:]
    else:
        w_x = how.w_x(key_x, input_size, size, blocks, dtype)
        w_h = how.w_h(key_h, read, size, blocks, dtype)
    b_x = None if bias is None else biases(key_b, how, size, blocks, dtype)
    b_h = biases(key_c, how, size, blocks, dtype) if bias == "double" else None
    return (w_x, w_h), (b_x, b_h)


def biases(key: PRNGKey, how: Scheme, size: int, blocks: int, dtype: DType) -> Array:
    """Draws biases [blocks * H]: zero, or uniform where the scheme says so."""
    return _uniform(key, (blocks * size,), how.bias / math.sqrt(size), dtype)


def _wide(draw, key, shape, dtype) -> Array:  # type: ignore[no-untyped-def]
    # LAPACK factors no matrix in half precision, and eight bits make coarse normals.
    wide = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32
    return draw(key, shape, wide).astype(dtype)


def _uniform(key: PRNGKey, shape: tuple[int, ...], bound: float, dtype: DType) -> Array:
    if bound == 0:
        return jnp.zeros(shape, dtype)
    draw = functools.partial(jax.random.uniform, minval=-bound, maxval=bound)
    return _wide(draw, key, shape, dtype)
