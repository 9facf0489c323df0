"""How the gated kernel cuts time and what it keeps, chosen from static shapes."""

import math
from typing import NamedTuple

import jax

from jrnn.kernels.plain import Inputs
from jrnn.types import AdditiveCell, GatedCell, Params, foremost

WHOLE = 4 * 2**20  # bytes of pre-activations up to which time is not cut
ROWS = 512  # examples times steps in a chunk
STEADY = 16  # steps in a chunk from which setting up its loop does not show
STEADY_ROWS = 1024  # examples times steps up to which a chunk is made steady
LEAST, MOST = 4, 256  # steps in a chunk
KEPT = 16 * 2**20  # bytes of pre-activations up to which they are kept
CHEAP = 192  # inputs and units up to which more than that is computed again
NARROW = 128  # units up to which inputs can join the state
MANY = 8  # examples from which one product can serve input and state


class Layout(NamedTuple):
    """How time is cut, and what is kept."""

    chunk: int  # steps that are projected, unless `joint`, and differentiated at once
    keep: bool  # whether pre-activations are kept for the backward pass
    joint: bool  # whether input and state are multiplied by one matrix, step by step


def choose(cell: GatedCell, params: Params, inputs: Inputs) -> Layout:
    """Chooses by the sizes of time, batch, inputs and recurrent kernel.

    All figures are milliseconds, float32, on two cores of an x86-64 with AVX-512: the
    fastest of calls that took turns in one process, for one choice at a time. Sizes are
    time, batch, inputs, units; Flax is its `OptimizedLSTMCell` in the same process.
    Rows and sentences are processes of their own.

    What a chunk computes should stay in the cache, while its products need some
    hundreds of rows. Gradient of an LSTM's parameters, by the steps of a chunk:

    | sizes              | 4    | 8    | 16   | 32   | 64   | Flax |
    |--------------------|------|------|------|------|------|------|
    | 128, 32, 128, 128  |      | 33.0 | 32.4 | 31.2 |      | 38.8 |
    | 64, 32, 64, 256    |      | 37.7 | 39.1 | 49.4 |      | 44.5 |
    | 128, 16, 256, 512  |      |      | 180  | 171  | 177  | 315  |
    | 512, 64, 64, 256   |      | 695  | 610  | 618  |      | 856  |
    | 100, 256, 128, 256 | 478  | 455  | 488  |      |      | 480  |

    What is chosen is within the noise, some per cent, of what was fastest. In less than
    16 steps, setting up the loop shows; but what is computed again adds to what is
    alive, so that there fewer steps serve better (100, 128, 28, 128: 83.4 for 4, 92.7
    for 10, 118 in Flax). Values take no longer for short chunks: at 128, 32, 128, 128
    12.2 for 16 and 11.5 for 64, at 128, 16, 256, 512 45.6 for 32 and 44.1 for 64. A
    short sequence needs no chunks: an Elman network at 128, 32, 128, 128 takes 10.9 in
    chunks of 16 and 9.8 in one, Flax 13.0.

    XLA takes all temporary memory as one block, which the C library fetches anew from
    the system in every call where it exceeds 32 MiB, as with chunks of 32 steps at 64,
    32, 64, 256; kept pre-activations are up to half of it. To compute them again costs
    less than that, unless each is a sum of many products: at 100, 128, 28, 128 it is
    82.6 in place of 90.9 and Flax's 117, at 4096, 16, 64, 64 250 in place of 279 and
    344, but at 128, 128, 128, 128 171 in place of 153 and 167, at 128, 16, 256, 512 205
    in place of 164 and 287.

    One product for input and state, in the loop, writes nothing ahead. That pays in
    values where inputs and units are few: 25.5 in place of 31.4 at 100, 128, 28, 128,
    29.4 in place of 35.9 at 256, 64, 2, 128, but 100 in place of 78.5 at 256, 64, 16,
    256. Gradients take as long with it as without.

    On accelerators nothing is measured: there chunks are as long as they may be, for
    few large products.
    """
    shape = jax.tree.leaves(inputs.xs)[0].shape
    time, batch = shape[0], shape[1:-1]
    if meshed(jax.sharding.AxisType.Explicit):  # such arrays cannot be cut
        return Layout(time, keep=True, joint=False)
    if jax.default_backend() != "cpu":
        return Layout(_divisor(time, MOST), keep=True, joint=False)
    kernel = cell.recurrent_kernel(params)
    number = max(math.prod(batch), 1)
    units, width = kernel.shape
    size = time * number * width * kernel.dtype.itemsize
    keep = size <= KEPT or shape[-1] + units > CHEAP
    few = 2 * shape[-1] <= units <= NARROW
    joint = few and additive(cell) and inputs.keys is None and number >= MANY
    if size <= WHOLE:
        return Layout(time, keep=keep, joint=joint)
    steps = ROWS // number
    if keep:
        steps = max(steps, min(STEADY, STEADY_ROWS // number))
    chunk = _divisor(time, min(max(steps, LEAST), MOST))
    return Layout(chunk, keep=keep, joint=joint)


def additive(cell: GatedCell) -> bool:
    """Whether a cell is additive, and not made so by a class that it then departs from.

    A subclass may do anything with its inputs in a `project` or `combine` of its own.
    """
    names = ("input_kernel", "project", "combine")
    return isinstance(cell, AdditiveCell) and foremost(cell, *names) == {*names}


def _divisor(time: int, size: int) -> int:
    """Returns a size near the one given that leaves no rest, if there is one."""
    if time <= size:
        return time
    near = [number for number in range(size, size // 2, -1) if time % number == 0]
    return near[0] if near else size


def meshed(*kinds: jax.sharding.AxisType) -> bool:
    """Whether a mesh with axes of one of these kinds is in use."""
    types = jax.sharding.get_abstract_mesh().axis_types
    return any(kind in kinds for kind in types)
