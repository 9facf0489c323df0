"""Truncated backpropagation through time: split a sequence and carry the state.

Gradients flow within a chunk and stop at its boundary. The state is carried across
chunks, so the outputs are those of the whole sequence. `truncated_value_and_grad` adds
up the gradients of all chunks; `train_on_chunks` updates the parameters after each
chunk.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jrnn import checks
from jrnn.meshes import place_like
from jrnn.training.cutting import as_arrays, time_axes
from jrnn.training.optimizers import check_optimizer
from jrnn.types import Array, Params, PRNGKey, State

# (params, state, chunk, key) -> (loss of the chunk, state after it)
ChunkLoss = Callable[[Params, State, "Chunk", PRNGKey | None], tuple[Array, State]]


class Chunk(NamedTuple):
    """A chunk of a sequence, or all chunks, stacked along the first axis."""

    data: Any  # tree of [chunks, *batch, length, ...]
    mask: Array  # [chunks, *batch, length], False for padded steps


def split_into_chunks(
    sequences: Any, length: int, *, overlap: int = 0, batch_axes: int = 1
) -> Chunk:
    """Splits sequences along time into chunks of equal length.

        [*batch, time, ...]  ->  [chunks, *batch, overlap + length, ...]

    The last chunk is padded with zeros, so all chunks have the same shape and a
    function of one chunk compiles once. The mask is False for padded steps. With
    an overlap, it is True for the steps that are repeated from the previous chunk:
    exclude the first `overlap` steps of each chunk from the loss, or they count twice.

    Args:
      sequences: A tree of arrays [*batch, time, ...] with the same batch and time axes;
        a list of numbers stands for an array.
      length: The number of new steps in each chunk.
      overlap: The number of steps repeated from the previous chunk. In the first chunk
        they are padding.
      batch_axes: The number of batch axes.

    Returns:
      The chunks, stacked along the first axis, for example for `jax.lax.scan`.

    Raises:
      ValueError: If the length is not positive, the batch or time axes of the arrays
        or lists differ, or there are no steps.

    Example:
      >>> import jax.numpy as jnp
      >>> chunks = split_into_chunks(jnp.arange(7)[None], length=3)
      >>> chunks.data[:, 0].tolist()
      [[0, 1, 2], [3, 4, 5], [6, 0, 0]]
      >>> chunks.mask[-1, 0].tolist()
      [True, False, False]
    """
    length = checks.integer("length", length, 1)
    overlap = checks.integer("overlap", overlap, 0)
    sequences = as_arrays(sequences, jnp.asarray)
    *batch, time = time_axes(sequences, batch_axes)
    number = -(-time // length)

    steps = jnp.arange(number)[:, None] * length
    steps = steps + jnp.arange(overlap + length)[None]

    def split(a: Array) -> Array:
        pad = [(0, 0)] * a.ndim
        pad[batch_axes] = (overlap, number * length - time)
        return jnp.moveaxis(jnp.pad(a, pad).take(steps, axis=batch_axes), batch_axes, 0)

    valid = jnp.ones((*batch, time), bool)
    return Chunk(jax.tree.map(split, sequences), split(valid))


def stream_to_rows(tokens: Any, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Reshapes a long stream of tokens into rows of inputs and next-token targets.

        inputs[b, t] = tokens[b * n + t],    targets[b, t] = tokens[b * n + t + 1]

    Each row is a contiguous part of the stream, so the state can be carried along it.
    At most `batch` tokens at the end of the stream are dropped.

    Args:
      tokens: The stream, [N].
      batch: The number of rows.

    Returns:
      Inputs and targets, each [batch, n] with `n = (N - 1) // batch`.

    Raises:
      ValueError: If there are fewer than `batch + 1` tokens, or other than one axis.

    Example:
      >>> inputs, targets = stream_to_rows([1, 2, 3, 4, 5, 6, 7], batch=2)
      >>> inputs.tolist(), targets.tolist()
      ([[1, 2, 3], [4, 5, 6]], [[2, 3, 4], [5, 6, 7]])
    """
    stream = np.asarray(tokens)
    if stream.ndim != 1:
        raise ValueError(
            f"tokens must have one axis, got the shape {list(stream.shape)}. Flatten "
            "them with `np.ravel(tokens)` if they are one stream."
        )
    batch = checks.integer("batch", batch, 1)
    size = (len(stream) - 1) // batch
    if size < 1:
        raise ValueError(
            f"tokens has {len(stream)} entries, too few for {batch} rows: at least "
            f"{batch + 1} are needed. Use a longer stream or a smaller batch."
        )
    inputs = stream[: batch * size].reshape(batch, size)
    return inputs, stream[1 : batch * size + 1].reshape(batch, size)


def truncated_value_and_grad(
    loss: ChunkLoss,
) -> Callable[..., tuple[tuple[Array, State], Params]]:
    """Returns a function that computes the truncated gradient of a whole sequence.

        d/dparams of sum_j loss(params, stop_gradient(state_j), chunk_j)

    All chunks use the same parameters, and their gradients are added. The result is a
    biased estimate of the full gradient, or the full gradient if there is one chunk.

    No gradient flows into the first state, so a learned initial state is not trained
    through it. To train one, reset the layer at the first step within the loss.

    Args:
      loss: `loss(params, state, chunk, key)` returns the loss of one chunk, a scalar,
        and the state after the chunk.

    Returns:
      A function `(params, state, chunks, key=None)` that returns
      `((loss, final state), gradient)`. The caller compiles it with `jax.jit`.

    Example:
      >>> import jax.numpy as jnp
      >>> def loss(params, state, chunk, key):  # h = 0.5 h + x, loss = sum of h
      ...     total = 0.0
      ...     for t in range(2):
      ...         state = params * state + chunk.data[t]
      ...         total += state
      ...     return total, state
      >>> chunks = split_into_chunks(jnp.ones(4), length=2, batch_axes=0)
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

        pieces = chunks, key_per_chunk(key, chunks)
        state = _typed(loss, params, state, pieces)
        start = state, jax.tree.map(jnp.zeros_like, params)
        (state, gradient), values = jax.lax.scan(body, start, pieces)
        return (jnp.sum(values, axis=0), state), gradient

    return value_and_grad


def train_on_chunks(
    loss: ChunkLoss, tx: optax.GradientTransformation
) -> Callable[..., tuple[Params, Any, State, Array]]:
    """Returns a function that updates the parameters after every chunk.

    Each chunk starts from the final state of the previous chunk, which was computed
    with older parameters. No gradient flows into the first state; see
    `truncated_value_and_grad`. If an element of the state after a chunk is not finite,
    its value before the chunk is kept, so a bad chunk does not affect the next one.

    Args:
      loss: As in `truncated_value_and_grad`.
      tx: An optax optimizer, for example
        `jrnn.training.optimizer(optax.adam(1e-3))`.

    Returns:
      A function `(params, opt_state, state, chunks, key=None)` that returns
      `(params, opt_state, state, losses)` with one loss per chunk, [chunks]. The caller
      compiles it with `jax.jit`.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> def loss(params, state, chunk, key):
      ...     state = params * state + chunk.data[0]
      ...     return state, state
      >>> tx = optax.sgd(0.1)
      >>> params = jnp.array(0.5)
      >>> chunks = split_into_chunks(jnp.ones(2), 1, batch_axes=0)
      >>> train = train_on_chunks(loss, tx)
      >>> params, _, state, losses = train(
      ...     params, tx.init(params), jnp.array(0.0), chunks
      ... )
      >>> round(float(params), 6), losses.tolist()
      (0.4, [1.0, 1.5])
    """
    check_optimizer(tx)

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

        pieces = chunks, key_per_chunk(key, chunks)
        carry = params, opt_state, _typed(loss, params, state, pieces)
        (params, opt_state, state), losses = jax.lax.scan(body, carry, pieces)
        return params, opt_state, state, losses

    return train


def _chunk_gradient(
    loss: ChunkLoss, params: Params, state: State, chunk: Chunk, key: PRNGKey | None
) -> tuple[tuple[Array, State], Params]:
    """Returns `((loss, state), gradient)` of one chunk."""
    state = jax.lax.stop_gradient(state)
    return jax.value_and_grad(loss, has_aux=True)(params, state, chunk, key)


def _typed(loss: ChunkLoss, params: Params, state: State, pieces: Any) -> State:
    """Gives a state the type that it has after a chunk: on a mesh, it is split.

    What does not fit in another way is left to the loop, which refuses it.
    """
    kinds = jax.sharding.get_abstract_mesh().axis_types
    if all(kind == jax.sharding.AxisType.Auto for kind in kinds):
        return state
    if not jax.tree.leaves(pieces)[0].shape[0]:
        return state
    first = jax.tree.map(lambda a: a[0], pieces)
    after = jax.eval_shape(loss, params, state, *first)[1]
    structures: list[Any] = [jax.tree.structure(tree) for tree in (state, after)]
    if structures[0] != structures[1]:
        return state
    return place_like(state, loss(params, state, *first)[1])


def _finite_or(new: Array, old: Array) -> Array:
    """Returns `new`, with `old` for elements that are not finite."""
    if not jnp.issubdtype(new.dtype, jnp.inexact):
        return new
    return jnp.where(jnp.isfinite(new), new, old)


def key_per_chunk(key: PRNGKey | None, chunks: Chunk) -> Array | None:
    """Returns one key for each chunk; None for none."""
    checks.key("key", key)
    return None if key is None else jax.random.split(key, chunks.mask.shape[0])
