"""How the gated kernel cuts time and what it keeps, chosen from static shapes."""

import math
from typing import NamedTuple

import jax

from jrnn.kernels.plain import Inputs
from jrnn.types import AdditiveCell, GatedCell, Params, foremost

WHOLE = 4 * 2**20  # bytes of pre-activations up to which time is not cut
ROWS = 512  # examples times steps in a chunk of a longer sequence
LEAST, MOST = 4, 256  # steps in a chunk
KEPT = 16 * 2**20  # bytes of pre-activations that are kept for any cell
NARROW = 128  # units above which more are kept
MANY = 8  # examples from which one product can serve input and state


class Layout(NamedTuple):
    """How time is cut, and what is kept."""

    chunk: int  # steps that are projected, and differentiated, at once
    keep: bool  # whether pre-activations are kept for the backward pass
    joint: bool  # whether input and state are multiplied by one matrix, step by step


def choose(cell: GatedCell, params: Params, inputs: Inputs) -> Layout:
    """Chooses by the sizes of time, batch, inputs and recurrent kernel.

    All figures are milliseconds, float32, on two cores of an x86-64 with AVX-512: the
    fastest of calls that took turns in one process, for one choice at a time. Sizes are
    time, batch, inputs, units; Flax is its `OptimizedLSTMCell` in the same process.

    What a chunk computes should stay in the cache, while its products need some
    hundreds of rows. Gradient of an LSTM's parameters, by steps in a chunk:

    | sizes             | steps     | ms               | Flax |
    |-------------------|-----------|------------------|------|
    | 128, 32, 128, 128 | 8, 16, 32 | 29.4, 27.3, 27.9 | 33.8 |
    | 512, 64, 64, 256  | 8, 16, 32 | 602, 587, 595    | 646  |
    | 100, 128, 28, 128 | 5, 10     | 76.5, 98.8       | 104  |

    and values, by steps that are projected at once: 12.8 for 1, 11.0 for 16, 10.3 for
    32 and 12.9 in Flax at 128, 32, 128, 128. A short sequence needs no chunks: an Elman
    network there takes 9.5 in chunks of 16 and 7.6 in one.

    XLA takes all temporary memory as one block, which the C library fetches anew from
    the system in every call where it exceeds 32 MiB; kept pre-activations are up to
    half of it. To compute them again costs less than that, unless there are many units
    to multiply: at 100, 128, 28, 128 it is 75.3 in place of 87.1 and Flax's 94.7, at
    128, 16, 256, 512 it is 165 in place of 138 and Flax's 178.

    One product for input and state, in the loop, writes nothing ahead, which pays where
    inputs are few: 71.5 in place of 73.6 at 100, 128, 28, 128 and 538 in place of 546
    at 512, 64, 64, 256, but 29.2 in place of 27.8 at 128, 32, 128, 128.

    On accelerators nothing is measured: there chunks are as long as they may be, for
    few large products.
    """
    shape = jax.tree.leaves(inputs.xs)[0].shape
    time, batch = shape[0], shape[1:-1]
    if meshed(jax.sharding.AxisType.Explicit):  # such arrays cannot be cut
        return Layout(chunk=time, keep=True, joint=False)
    if jax.default_backend() != "cpu":
        return Layout(_divisor(time, MOST), keep=True, joint=False)
    kernel = cell.recurrent_kernel(params)
    number = math.prod(batch)
    units, width = kernel.shape
    size = time * number * width * kernel.dtype.itemsize
    chunk = min(max(ROWS // max(number, 1), LEAST), MOST)
    joint = additive(cell) and inputs.keys is None and number >= MANY
    return Layout(
        chunk=time if size <= WHOLE else _divisor(time, chunk),
        keep=size <= KEPT or units > NARROW,
        joint=joint and 2 * shape[-1] <= units,
    )


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
