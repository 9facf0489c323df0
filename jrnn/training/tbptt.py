"""Truncated backpropagation through time: cut a long sequence, carry its state across.

Gradients flow within a chunk and stop at its border; values do not notice. There are
two ways to use the gradients of the chunks, and they are two functions: add them up
(`truncated_value_and_grad`), or update after each (`train_on_chunks`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jrnn import checks
from jrnn.types import Array, Params, PRNGKey, State

# (params, state, chunk, key) -> (loss of the chunk, state after it)
ChunkLoss = Callable[[Params, State, "Chunk", PRNGKey | None], tuple[Array, State]]


class Chunk(NamedTuple):
    """A piece of a sequence; with a leading axis of chunks, all pieces of one."""

    data: Any  # tree of [chunks, *batch, length, ...]
    mask: Array  # [chunks, *batch, length] False where padded


def cut(sequences: Any, length: int, *, overlap: int = 0, batch_axes: int = 1) -> Chunk:
    """Cuts sequences along time into chunks of one length; the tail is padded.

        [*batch, time, ...]  ->  [chunks, *batch, overlap + length, ...]

    One length means one compilation. The mask marks what is real, so a tail of three
    steps counts as three steps. With an overlap it is True for the steps that a chunk
    shares with the one before too: leave the first `overlap` steps of every chunk out
    of the loss, or they count twice.

    Args:
      sequences: A tree of arrays [*batch, time, ...] that share batch and time.
      length: Number of steps of a chunk that are not in the one before.
      overlap: Number of steps before these that a chunk begins with; padded where the
        sequence begins.
      batch_axes: Number of batch axes.

    Returns:
      The chunks, ready for `jax.lax.scan` over their first axis.

    Raises:
      ValueError: if the length is not positive, or the arrays disagree or have no
        steps.

    Example:
      >>> import jax.numpy as jnp
      >>> chunks = cut(jnp.arange(7)[None], length=3)
      >>> chunks.data[:, 0].tolist()
      [[0, 1, 2], [3, 4, 5], [6, 0, 0]]
      >>> chunks.mask[-1, 0].tolist()
      [True, False, False]
    """
    checks.at_least("length", length, 1)
    checks.at_least("overlap", overlap, 0)
    sequences = jax.tree.map(jnp.asarray, sequences)
    leaves = checks.named_leaves("sequences", sequences)
    shapes = {leaf.shape[: batch_axes + 1] for leaf in leaves.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) <= batch_axes:
        listed = {name: list(leaf.shape) for name, leaf in leaves.items()}
        raise ValueError(
            f"sequences must share {batch_axes} batch axes and then time, but their "
            f"shapes are {listed}. Say how many batch axes there are: `batch_axes=`."
        )
    *batch, time = next(iter(shapes))
    if time == 0:
        raise ValueError(
            "sequences have no steps, so there is nothing to cut. Leave them out, "
            "or say where time is: `batch_axes=`."
        )
    number = -(-time // length)

    steps = jnp.arange(number)[:, None] * length + jnp.arange(overlap + length)

    def chop(a: Array) -> Array:
        pad = [(0, 0)] * a.ndim
        pad[batch_axes] = (overlap, number * length - time)
        return jnp.moveaxis(jnp.pad(a, pad).take(steps, axis=batch_axes), batch_axes, 0)

    valid = jnp.ones((*batch, time), bool)
    return Chunk(jax.tree.map(chop, sequences), chop(valid))


def rows(tokens: Any, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Lays one long stream out as contiguous rows, with the next symbol as target.

        inputs[b, t] = tokens[b * n + t],    targets[b, t] = tokens[b * n + t + 1]

    Row b + 1 begins where row b ends, so the state carried along a row has always seen
    the text before. At most `batch` symbols at the end of the stream are left over.

    Args:
      tokens: The stream, [N].
      batch: Number of rows.

    Returns:
      Inputs and targets, each [batch, n] with `n = (N - 1) // batch`.

    Raises:
      ValueError: if there is less than one symbol, and its successor, for each row.

    Example:
      >>> inputs, targets = rows([1, 2, 3, 4, 5, 6, 7], batch=2)
      >>> inputs.tolist(), targets.tolist()
      ([[1, 2, 3], [4, 5, 6]], [[2, 3, 4], [5, 6, 7]])
    """
    stream = np.asarray(tokens)
    checks.at_least("batch", batch, 1)
    size = (len(stream) - 1) // batch
    if size < 1:
        raise ValueError(
            f"tokens holds {len(stream)} symbols, too few for {batch} rows: at least "
            f"{batch + 1} are needed. Use a longer text or a smaller batch."
        )
    inputs = stream[: batch * size].reshape(batch, size)
    return inputs, stream[1 : batch * size + 1].reshape(batch, size)


def truncated_value_and_grad(
    loss: ChunkLoss,
) -> Callable[..., tuple[tuple[Array, State], Params]]:
    """Makes the loss of a chunk into the truncated gradient of the whole sequence.

        d/dparams of sum_j loss(params, stop_gradient(state_j), chunk_j)

    The parameters stay the same for all chunks and the gradients add up: a biased but
    cheap estimate of full backpropagation, and the same where there is one chunk.

    The first state is data as well: one that was computed from the parameters, such as
    a learned initial state, is not trained through it. For that, reset the layer at the
    first step, within the loss.

    Args:
      loss: `loss(params, state, chunk, key)` returns the loss of one chunk, a scalar,
        and the state after it.

    Returns:
      A function `(params, state, chunks, key=None)` that returns
      `((loss, final state), gradient)`, to be compiled by the caller.

    Example:
      >>> import jax.numpy as jnp
      >>> def loss(params, state, chunk, key):  # h = 0.5 h + x, loss = sum of h
      ...     total = 0.0
      ...     for t in range(2):
      ...         state = params * state + chunk.data[t]
      ...         total += state
      ...     return total, state
      >>> chunks = cut(jnp.ones(4), length=2, batch_axes=0)
      >>> (total, _), gradient = truncated_value_and_grad(loss)(
      ...     jnp.array(0.5), jnp.array(0.0), chunks
      ... )
      >>> float(total), float(gradient)  # the full gradient is 5.75
      (6.125, 5.0)

    References:
      Williams and Peng, 1990, https://doi.org/10.1162/neco.1990.2.4.490
    """

    def value_and_grad(
        params: Params, state: State, chunks: Chunk, key: PRNGKey | None = None
    ) -> tuple[tuple[Array, State], Params]:
        def body(carry: Any, piece: Any) -> tuple[Any, Array]:
            state, gradient = carry
            (value, state), more = _chunk_gradient(loss, params, state, *piece)
            return (state, jax.tree.map(jnp.add, gradient, more)), value

        start = state, jax.tree.map(jnp.zeros_like, params)
        pieces = chunks, _split(key, chunks)
        (state, gradient), values = jax.lax.scan(body, start, pieces)
        return (jnp.sum(values, axis=0), state), gradient

    return value_and_grad


def train_on_chunks(
    loss: ChunkLoss, tx: optax.GradientTransformation
) -> Callable[..., tuple[Params, Any, State, Array]]:
    """Makes the loss of a chunk into a training pass with one update per chunk.

    Each chunk starts from the state that the one before ended with, which older
    parameters computed: the price of updating often. No gradient reaches the first
    state; see `truncated_value_and_grad`. Numbers of a state that are not finite are
    not carried on: those before the chunk stay, so that one bad chunk is one bad chunk.

    Args:
      loss: As in `truncated_value_and_grad`.
      tx: An optax optimiser, for example `jrnn.training.optimiser(1e-3)`.

    Returns:
      A function `(params, opt_state, state, chunks, key=None)` that returns
      `(params, opt_state, state, losses)` with one loss per chunk, [chunks]; to be
      compiled by the caller.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> def loss(params, state, chunk, key):
      ...     state = params * state + chunk.data[0]
      ...     return state, state
      >>> tx = optax.sgd(0.1)
      >>> params = jnp.array(0.5)
      >>> train = train_on_chunks(loss, tx)
      >>> params, _, state, losses = train(
      ...     params, tx.init(params), jnp.array(0.0), cut(jnp.ones(2), 1, batch_axes=0)
      ... )
      >>> round(float(params), 6), losses.tolist()
      (0.4, [1.0, 1.5])
    """

    def train(
        params: Params,
        opt_state: Any,
        state: State,
        chunks: Chunk,
        key: PRNGKey | None = None,
    ) -> tuple[Params, Any, State, Array]:
        def body(carry: Any, piece: Any) -> tuple[Any, Array]:
            params, opt_state, state = carry
            (value, new), gradient = _chunk_gradient(loss, params, state, *piece)
            state = jax.tree.map(_finite_or, new, state)
            updates, opt_state = tx.update(gradient, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state, state), value

        carry = params, opt_state, state
        pieces = chunks, _split(key, chunks)
        (params, opt_state, state), losses = jax.lax.scan(body, carry, pieces)
        return params, opt_state, state, losses

    return train


def _chunk_gradient(
    loss: ChunkLoss, params: Params, state: State, chunk: Chunk, key: PRNGKey | None
) -> tuple[tuple[Array, State], Params]:
    """Returns the loss and the state after a chunk, and the gradient of the loss."""
    state = jax.lax.stop_gradient(state)
    return jax.value_and_grad(loss, has_aux=True)(params, state, chunk, key)


def _finite_or(new: Array, old: Array) -> Array:
    """Returns `new`, but `old` where it is not finite."""
    if not jnp.issubdtype(new.dtype, jnp.inexact):
        return new
    return jnp.where(jnp.isfinite(new), new, old)


def _split(key: PRNGKey | None, chunks: Chunk) -> Array | None:
    return None if key is None else jax.random.split(key, chunks.mask.shape[0])
