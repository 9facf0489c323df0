"""How the gated kernel splits time and what it saves, chosen from static shapes.

The measurements behind the constants are in docs/kernels.md, with their command.
"""

from typing import NamedTuple

import jax

from jrnn.forms import Gated
from jrnn.kernels.base import Loop

WHOLE = 4 * 2**20  # bytes of pre-activations up to which time is not split
ROWS = 512  # examples times steps in a chunk
STEADY = 16  # steps in a chunk from which setting up its loop does not show
STEADY_ROWS = 1024  # examples times steps up to which a chunk is made steady
LEAST, MOST = 4, 256  # steps in a chunk
KEPT = 16 * 2**20  # bytes of pre-activations up to which they are saved
CHEAP = 192  # inputs + units up to which more than that is recomputed instead
NARROW = 128  # units up to which inputs can join the state
MANY = 8  # examples from which one matmul can serve input and state


class Layout(NamedTuple):
    """How time is split, and what is saved."""

    chunk: int  # steps that are projected and differentiated at once
    save: bool = True  # whether pre-activations are saved for the backward pass
    joint: bool = False  # whether one matmul per step serves input and state


def choose(form: Gated, feature_axes: int, loop: Loop) -> Layout:
    """Chooses by the sizes of time, batch, inputs and pre-activations.

    A chunk should stay in the cache while its matmuls have some hundreds of rows. What
    is cheap to recompute is not saved: XLA takes all temporary memory as one block, and
    the C library asks the system for a block above 32 MiB in every call, whose pages
    then cost more than a small matmul. One matmul for
    input and state hoists nothing, which pays where inputs and units are few.

    On accelerators nothing is measured: there chunks are as long as they may be, for
    few large matmuls.
    """
    inputs = loop.inputs
    h = jax.eval_shape(form.hidden, loop.state)
    v = jax.eval_shape(lambda p, h: form.recurrent(p)(h), loop.params, h)
    if jax.default_backend() != "cpu":
        return Layout(_divisor(inputs.time, MOST))
    features, units = jax.tree.leaves(inputs.xs)[0].shape[-1], h.shape[-1]
    rows = max(h.size // max(units, 1), 1)
    size = inputs.time * v.size * v.dtype.itemsize
    save = size <= KEPT or features + units > CHEAP
    few = 2 * features <= units <= NARROW and rows >= MANY
    additive = form.inputs is not None and feature_axes == 1 and inputs.keys is None
    if size <= WHOLE:
        return Layout(inputs.time, save, few and additive)
    steps = ROWS // rows
    if save:
        steps = max(steps, min(STEADY, STEADY_ROWS // rows))
    chunk = _divisor(inputs.time, min(max(steps, LEAST), MOST))
    return Layout(chunk, save, few and additive)


def _divisor(time: int, size: int) -> int:
    """Returns a size near the one given that leaves no rest, if there is one."""
    if time <= size:
        return time
    near = [number for number in range(size, size // 2, -1) if time % number == 0]
    return near[0] if near else size
