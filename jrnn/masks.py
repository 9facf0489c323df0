"""Which steps of a sequence are valid, and where the state restarts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import checks
from jrnn.types import Array, Shape


def resets_from_segments(segment_ids: Array) -> Array:
    """Returns the reset flags of packed sequences: True where a new segment begins.

        reset[t] = segment_ids[t] != segment_ids[t - 1],    reset[0] = False

    The first step is not flagged, so that a state given to `jrnn.scan` is used.

    Args:
      segment_ids: Integers [*batch, time], equal within a segment.

    Returns:
      Booleans [*batch, time], for the `reset` of `jrnn.scan` and of layers.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> jrnn.resets_from_segments(jnp.array([4, 4, 7, 7, 7])).tolist()
      [False, False, True, False, False]
    """
    # JAX would cut ids of 64 bits, such as hashes, down to 32.
    traced = isinstance(segment_ids, jax.Array)
    ids = segment_ids if traced else np.asarray(segment_ids)
    changes = jnp.asarray(ids[..., 1:] != ids[..., :-1])
    first = jnp.zeros_like(ids[..., :1], bool)
    return jnp.concatenate([first, changes], axis=-1)


def valid(lengths: Array | None, mask: Array | None, time: int) -> Array | None:
    """Returns which steps are valid, [time, *batch]; None for all of them.

    Lengths are those of `as_lengths`, and a mask is [time, *batch].
    """
    if lengths is None:
        return mask
    steps = jnp.arange(time, dtype=lengths.dtype)
    steps = steps.reshape(time, *(1,) * lengths.ndim)
    within = steps < jnp.clip(lengths, 0, time)[None]
    return within if mask is None else within & mask


def valid_steps(lengths: Any, mask: Any, batch: Shape, time: int) -> Array | None:
    """Returns which steps are valid, [*batch, time]; None for all of them.

    Args:
      lengths: Integers [*batch], or None.
      mask: Booleans [*batch, time], or None.
      batch: The batch shape of the inputs.
      time: Their number of steps.

    Raises:
      ValueError: if a shape or a length does not fit.
      TypeError: if lengths are not integers or the mask is not boolean.
    """
    lengths, mask = as_lengths(lengths), as_flags(mask)
    checks.lengths(lengths, batch, time)
    checks.flags("mask", mask, batch, time, major=False)
    if lengths is None:
        return mask
    steps_first = None if mask is None else jnp.moveaxis(mask, -1, 0)
    return jnp.moveaxis(jnp.asarray(valid(lengths, steps_first, time)), 0, -1)


def restarts(reset: Array | None, keep: Array | None, reverse: bool) -> Array | None:
    """Returns before which steps, in the order of the loop, the state is replaced.

    A flag at t acts between t and the valid step before it. In reverse the state is
    replaced before that earlier step, so each flag moves to it.
    """
    if reset is None or reset.shape[0] == 0:
        return None
    if not reverse:
        return reset
    time = reset.shape[0]
    steps = jnp.arange(time).reshape(time, *(1,) * (reset.ndim - 1))
    own = jnp.broadcast_to(steps, reset.shape)
    if keep is not None:
        own = jnp.where(keep, own, time)
    nearest = jax.lax.cummin(own, axis=0, reverse=True)  # valid step at or after t
    border = jnp.full_like(nearest[:1], time)
    following = jnp.concatenate([nearest[1:], border])
    flags = jnp.concatenate([reset, jnp.zeros_like(reset[:1])])
    return jnp.take_along_axis(flags, following, axis=0)


def hold(ys: Any, keep: Array, reverse: bool) -> Any:
    """Repeats the last valid output at padded steps; zero before the first valid step.

    Time comes first in the tree `ys` and in `keep` [time, *batch].
    """
    time = keep.shape[0]
    steps = jnp.arange(time).reshape(time, *(1,) * (keep.ndim - 1))
    if reverse:
        index = jax.lax.cummin(jnp.where(keep, steps, time), axis=0, reverse=True)
    else:
        index = jax.lax.cummax(jnp.where(keep, steps, -1), axis=0)
    found = (index >= 0) & (index < time)
    index = jnp.where(found, index, 0)

    def take(y: Array) -> Array:
        return jnp.take_along_axis(
            y, index.reshape(*index.shape, *(1,) * (y.ndim - index.ndim)), axis=0
        )

    return where(found, jax.tree.map(take, ys), jax.tree.map(jnp.zeros_like, ys))


def last_before(first: Array, ys: Array, mask: Array | None) -> Array:
    """Returns the output of the last valid step before each step, else `first`.

    Args:
      first: What comes before the first step [*batch, 1, features].
      ys: The outputs of all steps [*batch, time, features].
      mask: Booleans [*batch, time]; None if all steps are valid.
    """
    earlier, time = jnp.concatenate([first, ys], axis=-2), ys.shape[-2]
    if mask is None:
        return earlier[..., :time, :]
    place = jnp.where(mask, jnp.arange(1, time + 1), 0)  # in `earlier`
    place = jax.lax.cummax(place, axis=place.ndim - 1)
    place = jnp.concatenate([jnp.zeros_like(place[..., :1]), place[..., :-1]], axis=-1)
    return jnp.take_along_axis(earlier, place[..., None], axis=-2)


def as_flags(value: Any) -> Array | None:
    """Returns a mask or resets as an array, also from a list; None stays."""
    return None if value is None else jnp.asarray(value)


def as_lengths(value: Any) -> Array | None:
    """Returns lengths as an array of integers that cannot wrap; None stays.

    Raises:
      TypeError: if they are not integers.
    """
    hint = " Booleans go in `mask=`."
    return None if value is None else checks.integers("lengths", value, hint)


def without_padding(
    xs: Array, lengths: Any, mask: Any, *, feature_axes: int = 1
) -> Array:
    """Zeroes the steps of [*batch, time, features] that are not valid.

    A NaN in the padding times a cotangent of zero is NaN, so it must be removed before
    parameters multiply it. Lengths [*batch] and masks [*batch, time] determine which
    axis is time. Without them `xs` is returned unchanged.

    Raises:
      ValueError: if there is no time axis, or if flags do not fit.
      TypeError: if flags have another dtype.
    """
    lengths, mask = as_lengths(lengths), as_flags(mask)
    if lengths is None and mask is None:
        return xs
    axes = lengths.ndim if mask is None else mask.ndim - 1
    if not 0 <= axes <= xs.ndim - feature_axes - 1:
        raise ValueError(
            f"xs must be [*batch, time, features] with the batch of lengths or mask, "
            f"but its shape is {list(xs.shape)} and theirs "
            f"{list((lengths if mask is None else mask).shape)}. Without time steps, "
            "leave both out."
        )
    keep = jnp.asarray(valid_steps(lengths, mask, xs.shape[:axes], xs.shape[axes]))
    return where(keep, xs, jnp.zeros_like(xs))


def where(flags: Array, on_true: Any, on_false: Any) -> Any:
    """Chooses between two trees for each example; `flags` are [*batch].

    Flags align with the batch dimensions on the left of each leaf. Broadcasting would
    align them with the feature dimensions on its right.
    """

    def choose(a: Array, b: Array) -> Array:
        axes = flags.shape + (1,) * (b.ndim - flags.ndim)
        return jnp.where(flags.reshape(axes), a, b)

    return jax.tree.map(choose, on_true, on_false)
