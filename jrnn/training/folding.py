"""Full backpropagation through time in little memory: the loss folded into the scan."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels import remat
from jrnn.masks import where
from jrnn.training.tbptt import Chunk, ChunkLoss
from jrnn.types import Array, Params, PRNGKey, State


def folded_loss(
    loss: ChunkLoss, *, loops: str | tuple[int, ...] | None = "sqrt"
) -> Callable[..., tuple[Array, State]]:
    """Makes the loss of a chunk into the loss of the whole sequence, untruncated.

        sum_j loss(params, state_j, chunk_j)

    The gradient is that of full backpropagation through time, but each chunk is
    computed again when the backward pass comes to it. States, outputs and logits exist
    for one chunk at a time; nothing as long as the sequence is stored but the data.
    The same `loss` serves `truncated_value_and_grad` and `train_on_chunks`.

    Args:
      loss: `loss(params, state, chunk, key)` returns the loss of one chunk, a scalar,
        and the state after it. Losses add up: divide by the number of steps of the
        whole sequence where a mean is meant.
      loops: How the chunks are nested, as `remat` in `jrnn.scan`: None stores the state
        before every chunk; "sqrt" before some, for one more forward pass; a tuple gives
        the lengths of the loops, whose product is at least the number of chunks.

    Returns:
      A function `(params, state, chunks, key=None)` that returns the summed loss and
      the final state, to be differentiated with `jax.value_and_grad(...,
      has_aux=True)` and compiled by the caller.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jrnn.training import cut
      >>> def loss(params, state, chunk, key):  # h = 0.5 h + x, loss = sum of h
      ...     total = 0.0
      ...     for t in range(2):
      ...         state = params * state + chunk.data[t]
      ...         total += state
      ...     return total, state
      >>> chunks = cut(jnp.ones(4), length=2, batch_axes=0)
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
        keys = None if key is None else jax.random.split(key, number)
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
