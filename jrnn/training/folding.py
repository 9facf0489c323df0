"""Memory-efficient full backpropagation through time: a loss summed inside a scan."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels import remat
from jrnn.masks import where
from jrnn.training.tbptt import Chunk, ChunkLoss, key_per_chunk
from jrnn.types import Array, Params, PRNGKey, State


def folded_loss(
    loss: ChunkLoss, *, loops: str | tuple[int, ...] | None = "sqrt"
) -> Callable[..., tuple[Array, State]]:
    """Returns a function that sums the loss over all chunks, without truncation.

        sum_j loss(params, state_j, chunk_j)

    Its gradient is that of full backpropagation through time. The backward pass
    rematerializes one chunk at a time, so states, outputs and logits are stored for one
    chunk only. Only the data is stored for the whole sequence. `loss` has the same
    signature as in `truncated_value_and_grad` and `train_on_chunks`.

    Args:
      loss: `loss(params, state, chunk, key)` returns the loss of one chunk, a scalar,
        and the state after the chunk. The losses are added: for a mean, divide by the
        number of steps of the whole sequence.
      loops: How to nest the loop over chunks, like `remat` in `jrnn.scan`. None stores
        the state before every chunk. "sqrt" stores fewer states and computes one more
        forward pass. A tuple gives the lengths of the nested loops; they must multiply
        to at least the number of chunks.

    Returns:
      A function `(params, state, chunks, key=None)` that returns the summed loss and
      the final state. Differentiate it with `jax.value_and_grad(..., has_aux=True)`
      and compile the result with `jax.jit`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jrnn.training import split_into_chunks
      >>> def loss(params, state, chunk, key):  # h = 0.5 h + x, loss = sum of h
      ...     total = 0.0
      ...     for t in range(2):
      ...         state = params * state + chunk.data[t]
      ...         total += state
      ...     return total, state
      >>> chunks = split_into_chunks(jnp.ones(4), length=2, batch_axes=0)
      >>> value_and_grad = jax.value_and_grad(folded_loss(loss), has_aux=True)
      >>> (total, _), gradient = value_and_grad(jnp.array(0.5), jnp.array(0.0), chunks)
      >>> float(total), float(gradient)
      (6.125, 5.75)
    """

    def total(
        params: Params, state: State, chunks: Chunk, key: PRNGKey | None = None
    ) -> tuple[Array, State]:
        number = chunks.mask.shape[0]
        lengths = remat.lengths(loops, number)
        idle = math.prod(lengths) - number
        keys = key_per_chunk(key, chunks)
        keep = jnp.arange(number + idle) < number if idle else None

        def run(depth: int, carry: Any, piece: Any) -> tuple[Any, None]:
            if depth < len(lengths):
                deeper = jax.checkpoint(
                    functools.partial(run, depth + 1), prevent_cse=False
                )
                return jax.lax.scan(deeper, carry, piece)[0], None
            chunk, one_key, valid = piece
            value, state = loss(params, carry[1], chunk, one_key)
            after = carry[0] + value, state
            return (after if valid is None else where(valid, after, carry)), None

        pieces = jax.tree.map(
            lambda a: jnp.concatenate([a, *[a[-1:]] * idle]), (chunks, keys)
        )
        pieces = jax.tree.map(
            lambda a: a.reshape(*lengths, *a.shape[1:]), (*pieces, keep)
        )
        first = jax.tree.map(lambda a: a[0], (chunks, keys))
        value, _ = jax.eval_shape(loss, params, state, *first)
        return run(0, (jnp.zeros((), value.dtype), state), pieces)[0]

    return total
