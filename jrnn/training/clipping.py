"""Ways to clip gradients, and when to use each.

| What to clip                        | How                                           |
|-------------------------------------|-----------------------------------------------|
| every element                       | `optax.clip(1.0)`                             |
| the norm of the whole gradient      | `jrnn.training.clip_gradients(1.0)`           |
| the RMS of each array               | `optax.clip_by_block_rms(1.0)`                |
| each unit, relative to its weights  | `optax.adaptive_grad_clip(0.01)`              |
| norms that are outliers             | `jrnn.training.zclip()`                       |
| the state gradient at every step    | `jrnn.ClipCotangent(cell, norm=1.0)`          |

All but the last act after the backward pass. They cannot help if the gradient overflows
during the backward pass. `per_layer` clips each layer of a model separately.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jrnn import checks, numerics
from jrnn.training.optimizers import check_optimizer, gradient_norm
from jrnn.types import Array, Params


class ZClipState(NamedTuple):
    """The state of `zclip`: statistics of past gradient norms."""

    mean: Array  # [] float32
    variance: Array  # [] float32
    seen: Array  # [] int32, gradients seen
    clipped: Array  # [] int32, gradients clipped
    norm: Array  # [] float32, norm of the last gradient before clipping


def zclip(
    decay: float = 0.97,
    threshold: float = 2.5,
    warmup: int = 25,
    epsilon: float = 1e-6,
) -> optax.GradientTransformation:
    """Clips gradients whose norm is an outlier among past norms [1].

        z    = (norm - mean) / deviation
        norm -> mean + threshold^2 / z * deviation      if z > threshold

    Mean and deviation are running averages of the norms after clipping, so a spike
    changes them little. The first `warmup` gradients initialize them and are not
    clipped. A gradient whose norm is not finite is returned unchanged and does not
    update the averages; `jrnn.training.skip_nonfinite` handles it.

    Args:
      decay: The decay rate of the running averages.
      threshold: The z-score above which a norm is clipped.
      warmup: The number of gradients that initialize the averages.
      epsilon: Added to the deviation.

    Returns:
      An optax transformation. Its state has the fields `mean`, `variance`, `seen`,
      `clipped` and `norm`, the norm of the last gradient before clipping.

    Raises:
      ValueError: if an argument is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> tx = zclip(warmup=3)
      >>> state = tx.init(None)
      >>> for g in (1.0, 1.2, 0.8, 100.0):
      ...     update, state = tx.update(jnp.array([g]), state)
      >>> bool(update[0] < 1.2), int(state.clipped)
      (True, 1)

    References:
      [1] Kumar et al., 2025, https://arxiv.org/abs/2504.02507
    """
    checks.probability("decay", decay)
    checks.positive("threshold", threshold)
    warmup = checks.integer("warmup", warmup, 1)
    checks.at_least("epsilon", epsilon, 0)
    # Numbers of NumPy would promote the state.
    decay, threshold, epsilon = float(decay), float(threshold), float(epsilon)

    def init(params: Params) -> ZClipState:
        del params
        mean, variance, norm = (jnp.zeros((), jnp.float32) for _ in range(3))
        seen, clipped = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        return ZClipState(mean, variance, seen, clipped, norm)  # all may be donated

    def update(
        updates: Params, state: ZClipState, params: Params | None = None
    ) -> tuple[Params, ZClipState]:
        del params
        norm = gradient_norm(updates).astype(jnp.float32)
        finite, starting = jnp.isfinite(norm), state.seen < warmup
        deviation = jnp.sqrt(state.variance) + epsilon
        z = (norm - state.mean) / deviation
        high = finite & ~starting & (z > threshold)
        allowed = state.mean + threshold**2 / jnp.where(high, z, 1) * deviation
        clipped_norm = jnp.where(high, allowed, norm)
        scale = jnp.where(high, clipped_norm / jnp.where(high, norm, 1), 1)
        seen = (state.seen + 1).astype(jnp.float32)
        # During the warm-up, the averages include all gradients with equal weight.
        weight = jnp.where(starting, 1 / seen, 1 - decay)
        gap = clipped_norm - state.mean
        new = ZClipState(
            mean=state.mean + weight * gap,
            variance=(1 - weight) * (state.variance + weight * jnp.square(gap)),
            seen=state.seen + 1,
            clipped=state.clipped + high.astype(jnp.int32),
            norm=norm,
        )
        kept = state._replace(norm=norm)
        new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, kept)

        def scaled(g: Array) -> Array:
            wide = numerics.wide(g)
            return (g.astype(wide) * scale.astype(wide)).astype(g.dtype)

        return jax.tree.map(scaled, updates), new

    return optax.GradientTransformation(init, update)


def per_layer(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies a transformation to each layer of a `jrnn.Sequential` separately.

    If the gradient of one layer explodes, the gradients of the others stay the same.

    Args:
      tx: A transformation of the gradient of one layer, for example
        `jrnn.training.clip_gradients(1.0)`.

    Returns:
      An optax transformation of a tuple of gradients, one entry per layer.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> tx = per_layer(jrnn.training.clip_gradients(1.0))
      >>> gradient = (jnp.array([30.0, 40.0]), jnp.array([0.5]))
      >>> clipped, _ = tx.update(gradient, tx.init(gradient))
      >>> [[round(g, 3) for g in layer.tolist()] for layer in clipped]
      [[0.6, 0.8], [0.5]]
    """

    check_optimizer(tx)

    def init(params: Any) -> tuple[Any, ...]:
        if type(params) is not tuple:  # a NamedTuple holds the arrays of one layer
            raise TypeError(
                "per_layer needs a tuple of parameters, one entry per layer, as of a "
                f"`jrnn.Sequential`, got a {type(params).__name__}."
            )
        return tuple(tx.init(layer) for layer in params)

    def update(
        updates: Any, state: tuple[Any, ...], params: Any | None = None
    ) -> tuple[Any, tuple[Any, ...]]:
        layers = (None,) * len(updates) if params is None else params
        pairs = [
            tx.update(u, s, p) for u, s, p in zip(updates, state, layers, strict=True)
        ]
        return tuple(u for u, _ in pairs), tuple(s for _, s in pairs)

    return optax.GradientTransformation(init, update)
