"""Finds the first time step and array with a NaN or an infinity."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import checks, masks
from jrnn.meshes import place_rows
from jrnn.scanning import scan
from jrnn.types import Array, Cell, Params, State


class NonFinite(NamedTuple):
    """The location of the first NaN or infinity; -1 and -1 if there is none."""

    step: Array  # [*batch] integers, the time step
    leaf: Array  # [*batch] integers, the index of the array; see `describe`


def first_nonfinite(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    reset: Array | None = None,
) -> NonFinite:
    """Returns the first time step and array of a scan with a NaN or an infinity.

    It does not raise, so a compiled training step can call it. `describe` converts the
    result to text. Within a step, arrays are checked in the order parameters, initial
    state, inputs, states, outputs. Padded inputs are ignored.

    Args:
      cell: The cell.
      params: Its parameters.
      state: The state before the first step; None for the initial state.
      xs: Inputs [*batch, T, features].
      lengths: As in `jrnn.scan`.
      mask: As in `jrnn.scan`.
      reset: As in `jrnn.scan`.

    Returns:
      The step and the index of the array, for each row of the batch. Without time
      steps, there is no step to name, and both are -1.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.GRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> xs = jnp.ones((2, 5, 3)).at[1, 3, 0].set(jnp.nan)
      >>> found = first_nonfinite(cell, params, None, xs)
      >>> found.step.tolist()
      [-1, 3]
      >>> describe(found, cell, params, xs)
      ['row 1: xs is not finite at step 3']
    """
    batch, time = checks.sequence_axes(xs, cell.feature_axes, time_major=False)
    xs = checks.as_arrays("xs", xs)
    start = cell.initial_state(params, batch) if state is None else state
    _, (ys, states) = scan(
        cell,
        params,
        start,
        xs,
        lengths=lengths,
        mask=mask,
        reset=reset,
        return_states=True,
    )
    if not time:
        return NonFinite(jnp.full(batch, -1, int), jnp.full(batch, -1, int))

    valid = masks.valid_steps(lengths, mask, batch, time)
    seen = xs if valid is None else _inputs(valid, xs)
    whole = [jnp.any(~jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]
    bad = [jnp.broadcast_to(flag, (*batch, time)) for flag in whole]
    for leaf in jax.tree.leaves(start):
        flags_0 = _any(leaf, len(batch))[..., None]
        bad.append(jnp.broadcast_to(flags_0, (*batch, time)))
    bad += [_any(leaf, len(batch) + 1) for leaf in jax.tree.leaves((seen, states, ys))]
    bad = place_rows(bad, xs, len(batch))
    table = jnp.stack(bad, axis=-1)  # [*batch, T, arrays]
    flat = table.reshape(*batch, time * len(bad))  # by step, then by array
    place = jnp.argmax(flat, axis=-1)
    some = jnp.any(flat, axis=-1)
    step, leaf = place // len(bad), place % len(bad)
    return NonFinite(jnp.where(some, step, -1), jnp.where(some, leaf, -1))


def describe(found: NonFinite, cell: Cell, params: Params, xs: Any) -> list[str]:
    """Describes the result of `first_nonfinite`, with one sentence per affected row.

    Args:
      found: The result of `first_nonfinite`, outside of `jax.jit`.
      cell: The cell.
      params: Its parameters.
      xs: The inputs.

    Returns:
      Sentences such as "row 1: xs is not finite at step 3". The list is empty if
      everything is finite.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> xs = jnp.ones((2, 5, 3)).at[1, 3].set(jnp.nan)
      >>> describe(first_nonfinite(cell, params, None, xs), cell, params, xs)
      ['row 1: xs is not finite at step 3']
    """
    batch, _ = checks.sequence_axes(xs, cell.feature_axes, time_major=False)
    state = jax.eval_shape(lambda p: cell.initial_state(p, batch), params)
    causes = {"params": params, "state": state, "xs": xs, "states": state, "ys": 0}
    names = [
        n for name, tree in causes.items() for n in checks.named_leaves(name, tree)
    ]
    sentences = []
    for row in np.ndindex(*batch):
        step, leaf = int(found.step[row]), int(found.leaf[row])
        if step >= 0:
            label = f"row {', '.join(map(str, row))}: " if row else ""
            sentences.append(f"{label}{names[leaf]} is not finite at step {step}")
    return sentences


def _any(leaf: Array, axes: int) -> Array:
    """Returns whether any entry is not finite, along all but the first `axes` axes."""
    return jnp.any(~jnp.isfinite(leaf), axis=tuple(range(axes, leaf.ndim)))


def _inputs(valid: Array, xs: Any) -> Any:
    """Replaces padded inputs by zeros."""
    return masks.where(valid, xs, jax.tree.map(jnp.zeros_like, xs))
