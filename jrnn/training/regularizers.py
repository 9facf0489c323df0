"""Regularizers for recurrent networks.

Penalties are added to the loss. They need the outputs of the recurrent layers, so apply
the body and the head of the model separately:

    state, hs = body.apply(params.body, state, xs, key=key)
    _, logits = head.apply(params.head, None, hs)
    loss = cross_entropy(logits, labels, mask) + 2.0 * activation_penalty(hs, mask)

Noise is part of cells and layers: `jrnn.WeightDrop`, `jrnn.Zoneout`, and
`jrnn.Dropout(rate, locked=True)`, which uses one mask for a whole sequence.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import checks, masks, numerics
from jrnn.diagnostics import lyapunov_spectrum
from jrnn.training.cutting import as_arrays, time_axes
from jrnn.training.losses import mean_over_valid
from jrnn.training.tbptt import Chunk
from jrnn.types import Array, Cell, Params, State

SHORTEST = 5  # length of the shortest random chunk, in steps
SPREAD = 5  # standard deviation of the length of a chunk, in steps


def activation_penalty(ys: Array, mask: Array | None = None) -> Array:
    """Penalizes large outputs (AR) [1]: the mean of y^2.

    Args:
      ys: Outputs of a recurrent layer [*batch, time, features], after dropout.
      mask: Booleans [*batch, time]; None if all steps are valid.

    Returns:
      A scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> float(activation_penalty(jnp.full((2, 5, 3), 2.0)))
      4.0

    References:
      [1] Merity et al., 2017, https://arxiv.org/abs/1708.01009
    """
    ys, mask = _widened(ys, mask)
    return mean_over_valid(jnp.mean(jnp.square(ys), axis=-1), mask)


def temporal_activation_penalty(ys: Array, mask: Array | None = None) -> Array:
    """Penalizes changes between steps (TAR) [1]: the mean of (y_t+1 - y_t)^2.

    Args:
      ys: Outputs of a recurrent layer [*batch, time, features], before dropout.
      mask: Booleans [*batch, time]; None if all steps are valid. A pair of steps counts
        if both are valid.

    Returns:
      A scalar; zero if there is no such pair.

    Example:
      >>> import jax.numpy as jnp
      >>> float(temporal_activation_penalty(jnp.array([[1.0], [3.0], [3.0]])))
      2.0

    References:
      [1] Merity et al., 2017, https://arxiv.org/abs/1708.01009
    """
    ys, mask = _widened(ys, mask)
    pairs = None if mask is None else mask[..., 1:] & mask[..., :-1]
    changes = ys[..., 1:, :] - ys[..., :-1, :]
    return mean_over_valid(jnp.mean(jnp.square(changes), axis=-1), pairs)


def _widened(ys: Any, mask: Any) -> tuple[Array, Array | None]:
    """Returns outputs whose squares do not overflow, zero in the padding."""
    ys, mask = jnp.asarray(ys), masks.as_flags(mask)
    ys = ys.astype(numerics.wide(ys))
    if mask is None:
        return ys, None
    checks.step_mask(mask, ys.shape[:-1])
    return jnp.where(mask[..., None], ys, 0), mask


def gradient_flossing(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    *,
    exponents: int = 1,
    transient: int = 0,
) -> Array:
    """Penalizes Lyapunov exponents that differ from zero [1]: sum of their squares.

        sum over the largest `exponents` of exponent^2, mean over the batch

    In a direction whose exponent is zero, gradients neither vanish nor explode.
    Minimize this penalty alone for some steps before training, and again from time to
    time during training. Its gradient flows through a QR decomposition at every step,
    so use few exponents and short sequences.

    Args:
      cell: The cell.
      params: Its parameters.
      state: The state before the first step; None for the initial state.
      xs: Inputs [*batch, time, features].
      exponents: The number of exponents to penalize, starting with the largest.
      transient: The number of steps at the start that are not counted.

    Returns:
      A scalar. It is infinite if a penalized exponent is minus infinity, for example
      because a ReLU unit is never active.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(2, activation=jrnn.activations.identity, bias=False)
      >>> w_h = jnp.exp(0.5) * jnp.eye(2)
      >>> params = jrnn.cells.ElmanParams(jnp.ones((1, 2)), w_h, None)
      >>> loss = gradient_flossing(cell, params, None, jnp.ones((9, 1)), exponents=2)
      >>> round(float(loss), 4)  # both exponents are 1/2
      0.5

    References:
      [1] Engelken, 2023, https://arxiv.org/abs/2312.17306
    """
    found = lyapunov_spectrum(
        cell, params, state, xs, exponents=exponents, transient=transient
    )
    return jnp.mean(jnp.sum(jnp.square(found.exponents), axis=-1))


class Average(NamedTuple):
    """A running average of parameters."""

    mean: Params  # in float32 or wider: in less, it stands still after some hundred
    number: Array  # [] int32, the number of averaged parameters


def start_average(params: Params) -> Average:
    """Returns a running average that holds a copy of these parameters.

    Example:
      >>> import jax.numpy as jnp
      >>> int(start_average(jnp.array(1.0)).number)
      1
    """

    def copied(p: Array) -> Array:
        smooth = jnp.issubdtype(p.dtype, jnp.inexact)
        return jnp.array(p, numerics.wide(p) if smooth else p.dtype)

    return Average(jax.tree.map(copied, params), jnp.ones((), jnp.int32))


def add_to_average(average: Average, params: Params) -> Average:
    """Adds parameters to a running average. All have the same weight.

    Leaves of integers are those that were added last.

    Example:
      >>> import jax.numpy as jnp
      >>> average = start_average(jnp.array(1.0))
      >>> for value in (2.0, 6.0):
      ...     average = add_to_average(average, jnp.array(value))
      >>> float(average.mean), int(average.number)
      (3.0, 3)
    """
    number = average.number + 1

    def add(m: Array, p: Array) -> Array:
        if not jnp.issubdtype(m.dtype, jnp.inexact):
            return p
        return m + (p.astype(m.dtype) - m) / number.astype(m.dtype)

    return Average(jax.tree.map(add, average.mean, params), number)


def averaging_starts(losses: Sequence[float], patience: int = 5) -> bool:
    """Returns whether the validation loss has stopped improving [1].

        losses[-1] > min(losses[:-1 - patience])

    This is the trigger of NT-ASGD. Train with plain SGD and compute a validation loss
    from time to time. As soon as this function returns True, start to average the
    parameters of every step with `start_average` and `add_to_average`. The average is
    the final model.

    Args:
      losses: Validation losses, oldest first.
      patience: The number of losses before the last one that are not compared.

    Returns:
      A Python bool.

    Example:
      >>> averaging_starts([5.0, 3.0, 3.1, 3.2, 3.3], patience=2)
      True
      >>> averaging_starts([5.0, 3.0, 3.1, 3.2], patience=2)
      False

    References:
      [1] Merity et al., 2017, https://arxiv.org/abs/1708.02182
    """
    patience = checks.integer("patience", patience, 1)
    earlier = losses[: max(0, len(losses) - 1 - patience)]
    return len(earlier) > 0 and bool(losses[-1] > min(earlier))


def chunk_lengths(mean: int) -> tuple[int, ...]:
    """Returns the lengths, at most three, to which `random_chunks` pads.

    Example:
      >>> chunk_lengths(70)
      (45, 70, 80)
    """
    mean = checks.integer("mean", mean, 1)
    half, whole = max(SHORTEST, mean // 2), max(SHORTEST, mean)
    return tuple(sorted({half + 2 * SPREAD, whole, whole + 2 * SPREAD}))


def random_chunks(
    sequences: Any, mean: int, *, seed: int, batch_axes: int = 1
) -> Iterator[Chunk]:
    """Splits sequences along time into chunks of random lengths [1].

        length ~ normal(mean with probability 0.95, else mean / 2; deviation 5)

    With a different seed, the chunk boundaries are at different steps. Chunks are
    padded to one of at most three lengths, so a function of a chunk compiles at most
    three times. Scale each update by the number of valid steps divided by `mean`.

    Args:
      sequences: A tree of arrays [*batch, time, ...] with the same batch and time axes;
        a list of numbers stands for an array.
      mean: The typical number of steps of a chunk.
      seed: The seed of the lengths. Use a different one in each epoch.
      batch_axes: The number of batch axes.

    Returns:
      An iterator of chunks with data [*batch, length, ...] and their masks, in order.

    Raises:
      ValueError: If the batch or time axes of the arrays or lists differ, there are no
        steps, or `mean` is not positive.

    Example:
      >>> import numpy as np
      >>> chunks = list(random_chunks(np.arange(300)[None], mean=70, seed=0))
      >>> sum(int(chunk.mask.sum()) for chunk in chunks)
      300
      >>> {chunk.mask.shape[1] for chunk in chunks} <= {45, 70, 80}
      True

    References:
      [1] Merity et al., 2017, https://arxiv.org/abs/1708.02182
    """
    buckets = chunk_lengths(mean)
    sequences = as_arrays(sequences, np.asarray)
    *batch, time = time_axes(sequences, batch_axes)
    return _chunks(sequences, mean, buckets, seed, batch, time)


def _chunks(
    sequences: Any,
    mean: int,
    buckets: tuple[int, ...],
    seed: int,
    batch: list[int],
    time: int,
) -> Iterator[Chunk]:
    """Yields the chunks; what does not fit was refused before."""
    rng, axis = np.random.default_rng(seed), len(batch)
    start = 0
    while start < time:
        center = mean if rng.random() < 0.95 else mean / 2
        drawn = round(rng.normal(center, SPREAD))
        length = min(max(drawn, SHORTEST), buckets[-1], time - start)
        bucket = next(size for size in buckets if size >= length)

        piece = functools.partial(
            _piece, axis=axis, start=start, length=length, size=bucket
        )
        mask = np.broadcast_to(np.arange(bucket) < length, (*batch, bucket))
        yield Chunk(jax.tree.map(piece, sequences), jnp.asarray(mask))
        start += length


def _piece(a: Any, *, axis: int, start: int, length: int, size: int) -> Any:
    """Takes `length` steps of an array and pads them to `size`."""
    part = a[(slice(None),) * axis + (slice(start, start + length),)]
    pad = [(0, 0)] * a.ndim
    pad[axis] = (0, size - length)
    return np.pad(part, pad)
