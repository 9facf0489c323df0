"""Array arithmetic that several rooms share: safe norms, normalization, shifts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Norm(NamedTuple):
    """A Euclidean norm as a product of two factors, neither of which overflows."""

    peak: Array  # largest absolute entry; 1 if that is zero or not finite
    ratio: Array  # norm of the entries divided by `peak`

    @property
    def value(self) -> Array:
        """The norm itself."""
        return self.peak * self.ratio


def norm(tree: Any, batch_axes: int = 0) -> Norm:
    """Returns the Euclidean norm of all leaves together, in float32 at least.

        sqrt(sum of |leaf|^2) = peak * ratio

    Squares overflow from 256 on in float16 and from 2e19 on in float32, and vanish
    below 1e-23. Here every entry is divided by the largest before it is squared.

    Args:
      tree: Floating-point arrays [*batch, ...].
      batch_axes: The number of leading axes that are not reduced.

    Example:
      >>> import jax.numpy as jnp
      >>> float(norm({"a": jnp.full(4, 300, jnp.float16)}).value)
      600.0
    """
    leaves = jax.tree.leaves(tree)
    reals = [jnp.finfo(wide(leaf)).dtype for leaf in leaves]
    widest = max(reals, default=jnp.dtype(jnp.float32))
    sizes = [jnp.abs(leaf.astype(wide(leaf))).astype(widest) for leaf in leaves]
    axes = [tuple(range(batch_axes, size.ndim)) for size in sizes]
    zero = jnp.zeros((), widest)
    peak: Any = zero
    for size, over in zip(sizes, axes, strict=True):
        peak = jnp.maximum(peak, jnp.max(size, axis=over, initial=0))
    peak = jnp.where(jnp.isfinite(peak) & (peak > 0), peak, 1)
    total: Any = zero
    for size, over in zip(sizes, axes, strict=True):
        by = jnp.expand_dims(peak, over) if peak.ndim else peak
        scaled = _divide(size, by)
        total = total + jnp.sum(jnp.square(scaled), axis=over)
    return Norm(peak, jnp.sqrt(total))


def clip_norm(tree: Any, bound: float, batch_axes: int = 0) -> Any:
    """Scales a tree down to a Euclidean norm of at most `bound`.

    The direction is kept, however large the finite entries are.

    Example:
      >>> import jax.numpy as jnp
      >>> [round(x, 3) for x in clip_norm(jnp.full(2, 1e20), 1.0).tolist()]
      [0.707, 0.707]
    """
    peak, ratio = found = norm(tree, batch_axes)
    large = found.value > bound

    def clip(leaf: Array) -> Array:
        over = tuple(range(batch_axes, leaf.ndim))
        by, factor, flag = (
            jnp.expand_dims(a, over) if a.ndim else a
            for a in (peak, bound / jnp.where(ratio > 0, ratio, 1), large)
        )
        kind = wide(leaf)
        small = _divide(leaf.astype(kind), by.astype(kind)) * factor.astype(kind)
        small = small.astype(leaf.dtype)
        return jnp.where(flag, small, leaf)

    return jax.tree.map(clip, tree)


def _divide(a: Array, by: Array) -> Array:
    """Returns a / by, also for a divisor near the largest finite value.

    XLA divides by a scalar by multiplying by its reciprocal, and flushes the reciprocal
    of 1e38 to zero.
    """
    scale = jnp.where(by > 1, 2.0**-6, 1.0).astype(by.dtype)
    return (a * scale) / (by * scale)


def edit_cotangent(edit: Callable[[Any], Any], tree: Any) -> Any:
    """Returns the tree unchanged; the backward pass applies `edit` to its cotangent.

    Unlike `jax.custom_vjp` it has a forward-mode derivative, which is the identity, and
    it works in a function that JAX transposes. It is the solution of `1 * x = tree`,
    and `edit` solves the transposed system.

    Args:
      edit: Function from a cotangent to one of the same structure and shapes.
      tree: Arrays.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> double = lambda cotangent: 2 * cotangent
      >>> float(jax.grad(lambda x: 3 * edit_cotangent(double, x))(1.0))
      6.0
    """
    return jax.lax.custom_linear_solve(
        lambda x: x, tree, lambda _, b: b, lambda _, ct: edit(ct)
    )


def normalize(a: Array, epsilon: float) -> Array:
    """Returns (a - mean) / sqrt(variance + epsilon) along the last axis.

    Mean and variance are computed in float32 at least.

    Example:
      >>> import jax.numpy as jnp
      >>> normalize(jnp.array([1.0, 3.0]), 0.0).tolist()
      [-1.0, 1.0]
    """
    centered = a.astype(wide(a))
    centered = centered - jnp.mean(centered, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
    return (centered * jax.lax.rsqrt(variance + epsilon)).astype(a.dtype)


def shift(first: Any, after: Any, reverse: bool = False) -> Any:
    """Returns the value before each step, given the first and those after each step.

        forward: first, after[0], ..., after[T-2];   in reverse: after[1:], then first

    Args:
      first: A tree with leaves [...].
      after: A tree of the same structure with leaves [T, ...].
      reverse: Whether steps run from the last to the first.

    Example:
      >>> import jax.numpy as jnp
      >>> shift(jnp.array(0), jnp.array([1, 2, 3])).tolist()
      [0, 1, 2]
    """

    def one(start: Array, rest: Array) -> Array:
        if not rest.shape[0]:
            return rest
        if reverse:
            return jnp.concatenate([rest[1:], start[None]])
        return jnp.concatenate([start[None], rest[:-1]])

    return jax.tree.map(one, first, after)


def typed_key(key: Array) -> Array:
    """Returns a key as a scalar, also one of `jax.random.PRNGKey`.

    Example:
      >>> import jax
      >>> typed_key(jax.random.PRNGKey(0)).shape, typed_key(jax.random.key(0)).shape
      ((), ())
    """
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return key if typed else jax.random.wrap_key_data(key)


def along(a: Array, like: Array) -> Array:
    """Returns an array with leading axes of length one, to the rank of `like`.

    Then arithmetic of parameters [H] and values [..., H] needs no rank promotion, which
    JAX refuses under `jax_numpy_rank_promotion="raise"`.

    In half precision the new axes have the sizes of `like`: the gradient of a bias is a
    sum over them, so it is computed in float32 and rounded once. XLA would round a
    bfloat16 sum over two axes after the first axis, or a sum of ones would stop at
    256.

    Example:
      >>> import jax.numpy as jnp
      >>> along(jnp.ones(4), jnp.ones((2, 5, 4))).shape
      (1, 1, 4)
    """
    if not half(a):
        return jnp.expand_dims(a, tuple(range(like.ndim - a.ndim)))
    return repeated(a, like.shape[: max(like.ndim - a.ndim, 0)])


def repeated(a: Array, shape: tuple[int, ...]) -> Array:
    """Returns copies of an array, [*shape, ...]; its gradient is summed in float32.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> total = lambda a: jnp.sum(repeated(a, (999,)).astype(float))
      >>> float(jax.grad(total)(jnp.ones((), jnp.bfloat16)))
      1000.0
    """
    wider = a.astype(wide(a)) if half(a) else a
    return jnp.broadcast_to(wider, (*shape, *a.shape)).astype(a.dtype)


def wide(leaf: Array) -> Any:
    """Returns the dtype in which sums over an array are accumulated, a floating one.

    `jnp.promote_types` would refuse half precision under strict promotion.
    """
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return jax.dtypes.canonicalize_dtype(jnp.float64)
    return leaf.dtype if jnp.finfo(leaf.dtype).bits >= 32 else jnp.float32


def half(leaf: Array) -> bool:
    """Whether an array is floating-point with fewer than 32 bits."""
    return jnp.issubdtype(leaf.dtype, jnp.floating) and jnp.finfo(leaf.dtype).bits < 32


def widened(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Returns a tree with half precision as float32, and a function that casts back.

    A loop that reads parameters sums their gradient step by step. If they are widened
    before the loop and rounded in its body, values stay the same and the sum is in
    float32. A sum in bfloat16 would lose small addends: a sum of ones stops at 256.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def last(w):
      ...     wide, narrow = widened(w)
      ...     body = lambda h, x: (h + narrow(wide) * x, None)
      ...     return jax.lax.scan(body, jnp.zeros_like(w), jnp.ones(999, w.dtype))[0]
      >>> float(jax.grad(last)(jnp.ones((), jnp.bfloat16)))
      1000.0
    """
    dtypes = jax.tree.map(lambda leaf: leaf.dtype, tree)

    def widen(leaf: Array) -> Array:
        return leaf.astype(wide(leaf)) if half(leaf) else leaf

    def narrow(tree: Any) -> Any:
        return jax.tree.map(lambda leaf, dtype: leaf.astype(dtype), tree, dtypes)

    return jax.tree.map(widen, tree), narrow
