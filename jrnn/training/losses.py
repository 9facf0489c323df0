"""Losses over sequences: summed within a step, averaged over the valid steps."""

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.types import Array


def mean_over_valid(values: Array, mask: Array | None = None) -> Array:
    """Averages one number per step over the steps that are valid.

        sum(values where mask) / max(1, number of valid steps)

    Values are summed in float32 at least. Where no step is valid the mean is zero, and
    so is its gradient; a NaN in the padding reaches neither.

    Args:
      values: Numbers [*batch, time].
      mask: Booleans [*batch, time]; None for all valid.

    Returns:
      A scalar.

    Raises:
      ValueError: if the shapes differ.
      TypeError: if the mask is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> values = jnp.array([[1.0, 3.0, jnp.nan]])
      >>> float(mean_over_valid(values, jnp.array([[True, True, False]])))
      2.0
    """
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if mask is None:
        return jnp.sum(values) / max(1, values.size)
    checks.step_mask(mask, values.shape)
    kept = jnp.where(mask, values, 0)
    return jnp.sum(kept) / jnp.maximum(1, jnp.sum(mask))


def cross_entropy(logits: Array, labels: Array, mask: Array | None = None) -> Array:
    """Mean negative log-likelihood of the labels, in nats per valid step.

        -log softmax(logits)[label]

    Args:
      logits: Scores [*batch, time, classes]; computed with in float32 at least.
      labels: Integers [*batch, time], each at least 0 and below the number of classes.
      mask: Booleans [*batch, time]; None for all valid. Padding is inert, be it NaN or
        a label out of range.

    Returns:
      A scalar; zero where no step is valid. A traced label out of range makes it NaN.

    Raises:
      ValueError: if shapes differ, or a known valid label is out of range.
      TypeError: if labels are not integers or the mask is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = cross_entropy(jnp.zeros((2, 5, 4)), jnp.zeros((2, 5), int))
      >>> round(float(loss), 4)  # log 4
      1.3863
    """
    labels = jnp.asarray(labels)
    checks.same_shape("labels", labels, logits.shape[:-1], "logits without classes")
    if mask is not None:
        checks.step_mask(mask, labels.shape)
        logits = jnp.where(mask[..., None], logits, 0)
        labels = jnp.where(mask, labels, 0)
    checks.ids("labels", labels, logits.shape[-1])
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    # Indexing takes the nearest class for a label out of range: say NaN instead.
    known = (labels >= 0) & (labels < logits.shape[-1])
    chosen = jnp.take_along_axis(wide, jnp.where(known, labels, 0)[..., None], axis=-1)
    values = jax.nn.logsumexp(wide, axis=-1) - chosen[..., 0]
    return mean_over_valid(jnp.where(known, values, jnp.nan), mask)


def squared_error(ys: Array, targets: Array, mask: Array | None = None) -> Array:
    """Mean squared error: summed over features, averaged over valid steps.

        sum over features of (y - target)^2

    Args:
      ys: Predictions [*batch, time, features].
      targets: What they should be, of the same shape.
      mask: Booleans [*batch, time]; None for all valid.

    Returns:
      A scalar; zero where no step is valid.

    Raises:
      ValueError: if the shapes differ.
      TypeError: if the mask is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> float(squared_error(jnp.ones((2, 5, 3)), jnp.zeros((2, 5, 3))))
      3.0
    """
    checks.same_shape("targets", targets, ys.shape, "ys")
    difference = ys - targets
    if mask is not None:
        checks.step_mask(mask, ys.shape[:-1])
        difference = jnp.where(mask[..., None], difference, 0)
    wide = difference.astype(jnp.promote_types(difference.dtype, jnp.float32))
    return mean_over_valid(jnp.sum(jnp.square(wide), axis=-1), mask)
