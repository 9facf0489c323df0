"""Initializers of weight matrices."""

import functools
import math
from typing import Protocol

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.types import Array, DType, PRNGKey


class Draw(Protocol):
    """The type of an initializer that draws one weight matrix for each gate.

    Such a function draws `blocks` matrices [fan_in, size] and returns them concatenated
    along the last axis, [fan_in, blocks * size].

    Example:
      >>> def zeros(key, fan_in, size, blocks, dtype):
      ...     return jnp.zeros((fan_in, blocks * size), dtype)
      >>> draw: Draw = zeros
      >>> draw(jax.random.key(0), 3, 4, 2, float).shape
      (3, 8)
    """

    def __call__(
        self, key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
    ) -> Array: ...


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
    keys = checks.split_key(key, blocks)
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
    return uniform_within(key, (fan_in, blocks * size), bound, dtype)


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


def small_normal(
    key: PRNGKey, fan_in: int, size: int, blocks: int, dtype: DType
) -> Array:
    """Draws normal entries of standard deviation 0.001, shape [fan_in, blocks * size].

    The input weights of an IRNN, a ReLU network that starts as the identity.

    Example:
      >>> w = small_normal(jax.random.key(0), 100, 50, 2, float)
      >>> w.shape, bool(jnp.isclose(w.std(), 0.001, rtol=0.05))
      ((100, 100), True)

    Source: Le et al., 2015, https://arxiv.org/abs/1504.00941
    """
    draw = jax.nn.initializers.normal(0.001)
    return _wide(draw, key, (fan_in, blocks * size), dtype)


def _wide(draw, key, shape, dtype) -> Array:  # type: ignore[no-untyped-def]
    checks.init_key(key)
    checks.dtype("dtype", dtype)
    # LAPACK does not support half precision, and normals drawn with it are inaccurate.
    wide = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32
    return draw(key, shape, wide).astype(dtype)


def uniform_within(
    key: PRNGKey, shape: tuple[int, ...], bound: float, dtype: DType
) -> Array:
    """Draws uniform entries in +-bound."""
    if bound == 0:
        return jnp.zeros(shape, dtype)
    draw = functools.partial(jax.random.uniform, minval=-bound, maxval=bound)
    return _wide(draw, key, shape, dtype)
