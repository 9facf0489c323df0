"""Schemes: the default initializers of a library, by name."""

import math
from typing import NamedTuple

from jrnn import checks
from jrnn.initializers.matrices import (
    Draw,
    glorot_uniform,
    identity,
    lecun_normal,
    orthogonal,
    orthogonal_fused,
    small_normal,
    truncated_normal,
    uniform,
    uniform_within,
)
from jrnn.types import Array, DType, PRNGKey


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

    Args:
      name: "jrnn", "torch", "keras", "flax" (Linen), "nnx" or "haiku", or "irnn", that
        of Le et al., 2015, https://arxiv.org/abs/1504.00941.
      kind: The kind of cell: a library may initialize each in its own way.

    Raises:
      ValueError: if `name` is none of these.

    Example:
      >>> scheme("keras", "lstm").w_x.__name__, scheme("keras", "lstm").forget_bias
      ('glorot_uniform', 1.0)
      >>> scheme("haiku", "gru").w_h.__name__, scheme("haiku", "elman").w_h.__name__
      ('lecun_normal', 'truncated_normal')
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
    """Draws the arrays of most gated cells: two matrices and up to two biases.

    Args:
      key: Source of randomness.
      scheme: A result of the function `scheme`.
      input_size: The number F of input features.
      size: The number H of hidden units.
      blocks: The number k of gates.
      dtype: The dtype of the arrays.
      bias: Whether there is a bias.
      separate_biases: Whether there is a second bias, for the matmul of the state.
      state_size: The number of state entries that the gates read; None for H.

    Returns:
      w_x [F, k*H], w_h [state_size, k*H], b_x [k*H] and b_h [k*H]; a bias that is not
      asked for is None.

    Raises:
      TypeError: if `input_size` is not an integer.
      ValueError: if it is below 1.

    Example:
      >>> import jax
      >>> own = scheme("jrnn", "lstm")
      >>> w_x, w_h, b_x, b_h = recurrent_weights(jax.random.key(0), own, 3, 5, 4, float)
      >>> w_x.shape, w_h.shape, b_x.shape, b_h
      ((3, 20), (5, 20), (20,), None)
    """
    input_size = checks.integer("input_size", input_size, 1)
    read = size if state_size is None else state_size
    key_x, key_h, key_b, key_c = checks.split_key(key, 4)
    if scheme.joint_fan_in:
        both = scheme.w_x(key_x, input_size + read, size, blocks, dtype)
        w_x, w_h = both[:input_size], both[input_size:]
    else:
        w_x = scheme.w_x(key_x, input_size, size, blocks, dtype)
        w_h = scheme.w_h(key_h, read, size, blocks, dtype)
    b_x = biases(key_b, scheme, size, blocks, dtype) if bias else None
    b_h = biases(key_c, scheme, size, blocks, dtype) if separate_biases else None
    return w_x, w_h, b_x, b_h


def biases(key: PRNGKey, scheme: Scheme, size: int, blocks: int, dtype: DType) -> Array:
    """Draws biases [blocks * size], uniform in +-scheme.bias/sqrt(size).

    They are zero if `scheme.bias` is zero.

    Example:
      >>> import jax
      >>> biases(jax.random.key(0), scheme("jrnn", "gru"), 2, 3, float).tolist()
      [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
      >>> b = biases(jax.random.key(0), scheme("torch", "gru"), 4, 3, float)
      >>> bool((abs(b) <= 0.5).all())
      True
    """
    return uniform_within(key, (blocks * size,), scheme.bias / math.sqrt(size), dtype)
