"""Clipping of gradients, and where each kind belongs.

| What is clipped                     | With                                          |
|-------------------------------------|-----------------------------------------------|
| every number                        | `optax.clip(1.0)`                             |
| the norm of the whole gradient      | `jrnn.training.clip_by_global_norm(1.0)`      |
| the size of each parameter's        | `optax.clip_by_block_rms(1.0)`                |
| each unit's, against its weights    | `optax.adaptive_grad_clip(0.01)`              |
| norms that stand out from the past  | `zclip()`, below                              |
| the state's, at every step back     | `jrnn.ClipCotangent(cell, norm=1.0)`          |

All but the last act after the backward pass, and have nothing to work with once a
gradient has overflown on its way. `per_layer` applies a clip to each layer on its own.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jrnn import checks
from jrnn.training.optimisers import global_norm
from jrnn.types import Array, Params


class ZClipState(NamedTuple):
    """What `zclip` knows of the norms of past gradients."""

    mean: Array  # [] float32
    variance: Array  # [] float32
    seen: Array  # [] int32, gradients seen
    clipped: Array  # [] int32, of which clipped
    norm: Array  # [] float32, norm of the last gradient before clipping


def zclip(
    decay: float = 0.97,
    threshold: float = 2.5,
    warmup: int = 25,
    epsilon: float = 1e-6,
) -> optax.GradientTransformation:
    """Clips gradients whose norm stands out from those before [1].

        z    = (norm - mean) / deviation
        norm -> mean + threshold^2 / z * deviation      where z > threshold

    Mean and deviation are running averages of the clipped norms, so a spike does not
    raise them by more than it lets through. They start from the first `warmup`
    gradients, which pass. A norm that is not finite passes too, and changes nothing:
    `jrnn.training.skip_nonfinite` is there for it.

    Args:
      decay: Of the running averages.
      threshold: The z-score from which a norm is clipped.
      warmup: Number of gradients that start the averages.
      epsilon: Keeps the deviation away from zero.

    Returns:
      An optax transformation whose state is a `ZClipState`.

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
    checks.at_least("warmup", warmup, 1)

    def init(params: Params) -> ZClipState:
        del params
        zero, none = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
        return ZClipState(zero, zero, none, none, zero)

    def update(
        updates: Params, state: ZClipState, params: Params | None = None
    ) -> tuple[Params, ZClipState]:
        del params
        norm = global_norm(updates).astype(jnp.float32)
        finite, starting = jnp.isfinite(norm), state.seen < warmup
        deviation = jnp.sqrt(state.variance) + epsilon
        z = (norm - state.mean) / deviation
        high = finite & ~starting & (z > threshold)
        allowed = state.mean + threshold**2 / jnp.where(high, z, 1) * deviation
        let_through = jnp.where(high, allowed, norm)
        scale = jnp.where(high, let_through / norm, 1)
        # While starting, the averages are those of all gradients so far.
        weight = jnp.where(starting, 1 / (state.seen + 1), 1 - decay)
        gap = let_through - state.mean
        new = ZClipState(
            mean=state.mean + weight * gap,
            variance=(1 - weight) * (state.variance + weight * jnp.square(gap)),
            seen=state.seen + 1,
            clipped=state.clipped + high,
            norm=norm,
        )
        kept = state._replace(norm=norm)
        new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, kept)
        return jax.tree.map(lambda g: (g * scale).astype(g.dtype), updates), new

    return optax.GradientTransformation(init, update)


def per_layer(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies a transformation to each layer of a `jrnn.Sequential` on its own.

    A layer that explodes is clipped without shrinking the gradients of the others.

    Args:
      tx: A transformation of one layer's gradient, for example
        `jrnn.training.clip_by_global_norm(1.0)`.

    Returns:
      An optax transformation of a tuple of gradients, one entry per layer.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> tx = per_layer(jrnn.training.clip_by_global_norm(1.0))
      >>> gradient = (jnp.array([30.0, 40.0]), jnp.array([0.5]))
      >>> clipped, _ = tx.update(gradient, tx.init(gradient))
      >>> [[round(g, 3) for g in layer.tolist()] for layer in clipped]
      [[0.6, 0.8], [0.5]]
    """

    def init(params: Any) -> tuple[Any, ...]:
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
