"""A problem cut into windows, and what one window contributes to the loss."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, masks
from jrnn.masks import where
from jrnn.meshes import place_like, place_rows
from jrnn.training.gradients.dense import SensitiveState
from jrnn.training.gradients.traces import TracedState
from jrnn.training.tbptt import Chunk, split_into_chunks
from jrnn.types import Array, Layer, Params, PRNGKey, State

Loss = Callable[[Any, Any, Array | None], Array]  # (ys, targets, mask) -> mean


class Window(NamedTuple):
    """What is known of the steps of a window; a chunk's mask goes with it."""

    xs: Any  # [*batch, k2, ...]
    targets: Any  # [*batch, k2, ...]
    reset: Array | None  # [*batch, k2]
    first: Array  # [] whether no step comes before it


def padded(xs: Any, lengths: Any, mask: Any, axes: int) -> tuple[Any, Array | None]:
    """Returns inputs, zero where padded, and which steps are valid, [*batch, time]."""
    xs = checks.as_arrays("xs", xs)
    leaf = jax.tree.leaves(xs)[0]
    if leaf.ndim <= axes:
        raise ValueError(
            f"xs must have {axes} batch axes and then time, but a leaf has the shape "
            f"{list(leaf.shape)}. Pass the number of batch axes: `batch_axes=`."
        )
    *batch, time = leaf.shape[: axes + 1]
    mask = masks.valid_steps(lengths, mask, tuple(batch), time)
    if mask is None:
        return xs, None
    # A NaN in the padding would reach the gradients of the layers before a scan.
    return where(mask, xs, jax.tree.map(jnp.zeros_like, xs)), mask


class Windowed(NamedTuple):
    """What `truncated_value_and_grad` and `train_on_chunks` take."""

    loss: Any  # (params, (start, end), chunk, key) -> (loss, (next start, end))
    states: Any  # where the first window starts, twice
    chunks: Chunk  # with a `Window` as data


def windowed(
    layer: Layer,
    loss: Loss,
    window: tuple[int, int],
    axes: int,
    params: Params,
    state: State | None,
    problem: tuple[Any, Any, Array | None, Array | None],
    *,
    mean_of_all: bool,
) -> Windowed:
    """Splits a problem into windows of k2 steps, k1 apart; the loss is on the last k1.

    Args:
      layer: What is trained, already rewritten by the method.
      loss: The loss of a piece.
      window: k1 and k2.
      axes: The number of batch axes.
      params: For the initial state.
      state: State before the sequence; None for the initial state.
      problem: Inputs, targets, mask and reset.
      mean_of_all: Whether the losses of the windows add up to the mean over the whole
        sequence. If not, each is the mean over its own window.
    """
    xs, targets, mask, reset = problem
    reset = masks.as_flags(reset)
    (k1, k2), shape = window, jax.tree.leaves(xs)[0].shape[: axes + 1]
    checks.flags("reset", reset, shape[:-1], shape[-1], major=False)
    flags = jnp.ones(shape, bool) if mask is None else mask
    chunks = split_into_chunks(
        (xs, targets, reset, flags), k1, overlap=k2 - k1, batch_axes=axes
    )
    xs, targets, reset, flags = chunks.data
    first = jnp.arange(flags.shape[0]) * k1 <= k2 - k1
    chunks = Chunk(Window(xs, targets, reset, first), flags & chunks.mask)
    full = mask is None and k1 == k2 and shape[-1] % k1 == 0  # kernels prefer no mask
    valid = math.prod(shape) if mask is None else jnp.sum(mask)
    total = jnp.maximum(1, jnp.asarray(valid)) if mean_of_all else None
    start = _started(layer.initial_state(params, shape[:-1]), state)
    start = place_rows(start, problem[0], axes)
    piece_loss = _window_loss(layer, loss, window, axes, state is None, full, total)
    return Windowed(piece_loss, (start, start), chunks)


def _window_loss(
    layer: Layer,
    loss: Loss,
    window: tuple[int, int],
    axes: int,
    fresh: bool,
    full: bool,
    total: Array | None,
) -> Any:
    """Returns the loss of a window.

    Its state is a pair: where the next window starts, and where this one ends.
    """
    k1, k2 = window

    def part(tree: Any, begin: int, end: int) -> Any:
        return jax.tree.map(
            lambda a: jax.lax.slice_in_dim(a, begin, end, axis=axes), tree
        )

    def run(params: Params, state: State, chunk: Chunk, span: Any, key: Any) -> Any:
        xs, reset, mask = part((chunk.data.xs, chunk.data.reset, chunk.mask), *span)
        mask = None if full else mask
        return layer.apply(params, state, xs, mask=mask, reset=reset, key=key)

    def piece_loss(
        params: Params, states: Any, chunk: Chunk, key: PRNGKey | None
    ) -> tuple[Array, Any]:
        start, _ = states
        if fresh:  # so that a learned initial state has its gradient
            initial = layer.initial_state(params, chunk.mask.shape[:axes])
            start = where(chunk.data.first, place_like(initial, start), start)
        keys = (None, None) if key is None else jax.random.split(key)
        following, ys = run(params, start, chunk, (0, k1), keys[0])
        end = following
        if k2 > k1:
            end, more = run(params, following, chunk, (k1, k2), keys[1])
            ys = jax.tree.map(lambda *a: jnp.concatenate(a, axis=axes), ys, more)
            ys = part(ys, k2 - k1, k2)
        targets, mask = part((chunk.data.targets, chunk.mask), k2 - k1, k2)
        value = loss(ys, targets, None if full else mask)
        if total is not None:
            valid, steps = jnp.sum(mask).astype(value.dtype), total.astype(value.dtype)
            value = value * valid / steps
        return value, (following, end)

    return piece_loss


def _started(initial: State, state: State | None) -> State:
    """Returns the state to start from; one from outside owes nothing to parameters."""
    if state is None:
        return initial
    structures: list[Any] = [jax.tree.structure(tree) for tree in (state, initial)]
    if structures[0] == structures[1]:
        return state

    def begin(node: Any, given: Any) -> Any:
        if not _carries(node):
            return given
        return type(node)(given, jax.tree.map(jnp.zeros_like, node[1]))

    return jax.tree.map(begin, initial, state, is_leaf=_carries)


def _carries(node: Any) -> bool:
    """Whether a node of a state holds derivatives beside the state proper."""
    return isinstance(node, TracedState | SensitiveState)
