"""How the gated kernel splits time and what it saves, chosen from static shapes.

The measurements behind the constants are in docs/kernels.md, with their command.
"""

from typing import Any, NamedTuple

import jax

from jrnn.kernels.base import Loop, Options, divisor
from jrnn.types import Cell

ONE_CHUNK_BYTES = 4 * 2**20  # of pre-activations: up to here time is not split
CHUNK_ROWS = 512  # examples times steps of a chunk
SAVING_STEPS = 16  # least steps of a chunk that saves, whose loop has to be set up,
SAVING_ROWS = 1024  # unless that makes more examples times steps
MIN_STEPS, MAX_STEPS = 4, 256  # of a chunk
ACCELERATED_UNROLL = 4  # halves the kernels launched per step, see docs/devices.md
SAVE_BYTES = 16 * 2**20  # of pre-activations: up to here they are saved
RECOMPUTE_WIDTH = 192  # inputs + units: up to here more bytes than that are recomputed
JOINT_UNITS = 128  # units up to which inputs can join the state in one matmul
JOINT_ROWS = 8  # examples from which they can


class Layout(NamedTuple):
    """How time is split, and what is saved."""

    chunk: int  # steps that are projected and differentiated at once
    save: bool = True  # whether pre-activations are saved for the backward pass
    joint: bool = False  # whether one matmul per step serves input and state
    packed: bool = False  # whether a step saves one array instead of one per leaf
    unroll: int = 1  # steps per trip of the compiled loop, unless the caller says


class Plan(NamedTuple):
    """What is run and how; static."""

    cell: Cell
    layout: Layout
    options: Options

    @property
    def form(self) -> Any:
        """The gated form of the cell."""
        return self.cell.form


def choose(cell: Cell, loop: Loop) -> Layout:
    """Chooses by the sizes of time, batch, inputs and pre-activations.

    A chunk should stay in the cache while its matmuls have some hundreds of rows. What
    is cheap to recompute is not saved: XLA takes all temporary memory as one block, and
    the C library asks the system for a block above 32 MiB in every call, whose pages
    then cost more than a small matmul. One matmul for input and state hoists nothing,
    which pays if inputs and units are few. All of this was measured on CPUs.
    """
    form: Any = cell.form
    inputs = loop.inputs
    h = jax.eval_shape(form.hidden, loop.state)
    v = jax.eval_shape(lambda p, h: form.recurrent(p)(h), loop.params, h)
    features, units = jax.tree.leaves(inputs.xs)[0].shape[-1], h.shape[-1]
    rows = max(h.size // max(units, 1), 1)
    size = inputs.time * v.size * v.dtype.itemsize
    save = size <= SAVE_BYTES or features + units > RECOMPUTE_WIDTH
    joint = joins(cell) and inputs.keys is None
    joint = joint and 2 * features <= units <= JOINT_UNITS and rows >= JOINT_ROWS
    if size <= ONE_CHUNK_BYTES:
        return Layout(inputs.time, save, joint)
    steps = max(CHUNK_ROWS // rows, MIN_STEPS)
    if save:
        steps = max(steps, min(SAVING_STEPS, SAVING_ROWS // rows))
    return Layout(divisor(inputs.time, min(steps, MAX_STEPS)), save, joint)


def joins(cell: Cell) -> bool:
    """Whether one matmul can serve the input and the state of a cell."""
    known = getattr(cell.form, "inputs", None) is not None  # only of a gated form
    return known and cell.affine_inputs and cell.feature_axes == 1


def accelerated(time: int) -> Layout:
    """Chooses for GPUs and TPUs, where nothing is measured.

    Chunks are as long as they may be, for few large matmuls. Pre-activations are saved,
    in one array with the states: a step there waits for kernels to start more than for
    memory, and each array that it saves is a kernel. Unrolling joins kernels of steps.
    """
    chunk = divisor(time, MAX_STEPS)
    return Layout(chunk, packed=True, unroll=ACCELERATED_UNROLL)
