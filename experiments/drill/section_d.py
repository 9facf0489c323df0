"""Section D of the drill: shapes, lengths and dtypes."""

import itertools

from experiments.drill import programs, shapes
from experiments.drill.rows import Row
from experiments.drill.shapes import CELLS, each, told
from experiments.drill.suite import suite

KERAS = "tests/conformance/test_keras.py"

ROWS = (
    Row(
        34,
        "D",
        "a row of length 0, with an initial state",
        "its final state is the initial state, and its outputs and gradients are 0",
        each(shapes.no_steps_in_a_row),
    ),
    Row(
        35,
        "D",
        "negative lengths, and lengths larger than T",
        "an error with row, value and T; defined under `jit`",
        each(shapes.wrong_lengths, shapes.WRONG_LENGTHS),
    ),
    Row(
        36,
        "D",
        "lengths of another shape or dtype",
        "TypeError or ValueError",
        each(shapes.other_lengths, [*itertools.product(CELLS, shapes.NO_LENGTHS)]),
    ),
    Row(
        37,
        "D",
        "T = 0",
        "no outputs, and the final state is the initial state",
        each(shapes.no_steps, [*itertools.product(CELLS, (False, True))]),
    ),
    Row(
        38,
        "D",
        "B, T, hidden size or input size of 0 or 1",
        "values equal those of the equations",
        each(shapes.small_sizes, shapes.SMALL),
    ),
    Row(
        39,
        "D",
        "another number of features",
        "an error with expected and given sizes, and the layer",
        told(shapes.wrong_features),
    ),
    Row(
        40,
        "D",
        "a state of another structure, shape or batch",
        "an error with the path of the leaf",
        told(shapes.wrong_states),
    ),
    Row(
        41,
        "D",
        "inputs, parameters and states of different dtypes",
        "documented promotion; states keep their dtype",
        each(programs.dtypes, programs.DTYPES),
    ),
    Row(
        42,
        "D",
        "x64 on and off",
        "the same code runs, and float32 stays float32",
        each(programs.wide),
    ),
    Row(
        43,
        "D",
        "batch and time swapped by mistake",
        "an error if the sizes show it; otherwise documented",
        told(shapes.swapped),
    ),
    Row(
        44,
        "D",
        "masks with gaps, padding on the left, masks of integers",
        "values recorded from Keras",
        suite(KERAS),
    ),
    Row(
        45,
        "D",
        "100 000 steps",
        "memory of the forward pass does not grow with T; that of the backward "
        "pass stays within its bound with `remat`",
        programs.long_sequences,
    ),
    Row(
        46,
        "D",
        "a smaller last batch and different T",
        "at most one compilation per bucket",
        each(programs.buckets),
    ),
    Row(
        47,
        "D",
        "a donated buffer is used again",
        "an error that says so",
        each(programs.donated),
    ),
    Row(
        48,
        "D",
        "a cell of a user leaks a tracer",
        "found by `jax.checking_leaks`",
        each(programs.leaked, (True, False)),
    ),
)
