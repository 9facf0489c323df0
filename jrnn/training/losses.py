"""Losses over sequences: summed over features, averaged over valid steps."""

import jax
import jax.numpy as jnp

from jrnn import checks, masks, numerics
from jrnn.types import Array


def mean_over_valid(values: Array, mask: Array | None = None) -> Array:
    """Returns the mean of one value per step over the valid steps.

        sum(values where mask) / max(1, number of valid steps)

    The sum is accumulated in float32 or wider. If no step is valid, the mean and its
    gradient are zero. A NaN in the padding affects neither.

    Args:
      values: One value per step, [*batch, time].
      mask: Booleans [*batch, time]; None if all steps are valid.

    Returns:
      A scalar.

    Raises:
      ValueError: If the shapes differ.
      TypeError: If the mask is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> values = jnp.array([[1.0, 3.0, jnp.nan]])
      >>> float(mean_over_valid(values, jnp.array([[True, True, False]])))
      2.0
    """
    values, mask = jnp.asarray(values), masks.as_flags(mask)
    values = values.astype(numerics.wide(values))
    if mask is None:
        return jnp.sum(values) / max(1, values.size)
    checks.step_mask(mask, values.shape)
    kept = jnp.where(mask, values, 0)
    return jnp.sum(kept) / jnp.maximum(1, jnp.sum(mask)).astype(kept.dtype)


def cross_entropy(logits: Array, labels: Array, mask: Array | None = None) -> Array:
    """Returns the mean negative log-likelihood of the labels, in nats per valid step.

        -log softmax(logits)[label]

    Args:
      logits: Logits [*batch, time, classes]. The loss is computed in float32 or wider.
      labels: Integers [*batch, time], from 0 to the number of classes minus 1.
      mask: Booleans [*batch, time]; None if all steps are valid. A NaN or an invalid
        label in the padding has no effect.

    Returns:
      A scalar; zero if no step is valid. With a traced invalid label, it is NaN.

    Raises:
      ValueError: If the shapes differ, or a label is out of range and its value is
        known, that is, not traced.
      TypeError: If the labels are not integers or the mask is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = cross_entropy(jnp.zeros((2, 5, 4)), jnp.zeros((2, 5), int))
      >>> round(float(loss), 4)  # log 4
      1.3863
    """
    logits, mask = jnp.asarray(logits), masks.as_flags(mask)
    labels = checks.integers("labels", labels)
    checks.same_shape("labels", labels, logits.shape[:-1], "logits without classes")
    if mask is not None:
        checks.step_mask(mask, labels.shape)
        logits = jnp.where(mask[..., None], logits, 0)
        labels = jnp.where(mask, labels, 0)
    labels = checks.ids("labels", labels, logits.shape[-1])
    wide = logits.astype(numerics.wide(logits))
    # JAX clamps an index that is out of range. Return NaN instead.
    known = (labels >= 0) & (labels < logits.shape[-1])
    chosen = jnp.take_along_axis(wide, jnp.where(known, labels, 0)[..., None], axis=-1)
    values = jax.nn.logsumexp(wide, axis=-1) - chosen[..., 0]
    return mean_over_valid(jnp.where(known, values, jnp.nan), mask)


def accuracy(logits: Array, labels: Array, mask: Array | None = None) -> Array:
    """Returns the fraction of valid steps whose label has the largest logit.

        mean of (argmax(logits) == label)

    Args:
      logits: Logits [*batch, time, classes].
      labels: Integers [*batch, time].
      mask: Booleans [*batch, time]; None if all steps are valid.

    Returns:
      A scalar in [0, 1]; zero if no step is valid. A label that is out of range, or
      logits that are NaN, count as wrong.

    Raises:
      ValueError: If the shapes differ, or a label is out of range and its value is
        known, that is, not traced.
      TypeError: If the labels are not integers or the mask is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> logits = jnp.array([[[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]])
      >>> labels, mask = jnp.array([[1, 1, 0]]), jnp.array([[True, True, False]])
      >>> float(accuracy(logits, labels, mask))
      0.5
    """
    logits, mask = jnp.asarray(logits), masks.as_flags(mask)
    labels = checks.integers("labels", labels)
    checks.same_shape("labels", labels, logits.shape[:-1], "logits without classes")
    if mask is not None:
        checks.step_mask(mask, labels.shape)
        labels = jnp.where(mask, labels, 0)
    labels = checks.ids("labels", labels, logits.shape[-1])
    right = jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels
    return mean_over_valid(right & ~jnp.any(jnp.isnan(logits), axis=-1), mask)


def squared_error(ys: Array, targets: Array, mask: Array | None = None) -> Array:
    """Returns the squared error, summed over features, averaged over valid steps.

        sum over features of (y - target)^2

    Args:
      ys: Predictions [*batch, time, features].
      targets: Targets [*batch, time, features].
      mask: Booleans [*batch, time]; None if all steps are valid.

    Returns:
      A scalar; zero if no step is valid.

    Raises:
      ValueError: If the shapes differ.
      TypeError: If the mask is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> float(squared_error(jnp.ones((2, 5, 3)), jnp.zeros((2, 5, 3))))
      3.0
    """
    ys, mask = jnp.asarray(ys), masks.as_flags(mask)
    checks.same_shape("targets", targets, ys.shape, "ys")
    wide = numerics.wide(ys)  # integer targets are widened before they are subtracted
    difference = ys.astype(wide) - jnp.asarray(targets).astype(wide)
    if mask is not None:
        checks.step_mask(mask, ys.shape[:-1])
        difference = jnp.where(mask[..., None], difference, 0)
    return mean_over_valid(jnp.sum(jnp.square(difference), axis=-1), mask)
