"""Section D of the drill: shapes, lengths and dtypes."""

from experiments.drill.rows import Row

ROWS = (
    Row(
        34,
        "D",
        "a row of length 0, with an initial state",
        "its final state is the initial state, and its outputs and gradients are 0",
    ),
    Row(
        35,
        "D",
        "negative lengths, and lengths larger than T",
        "an error with row, value and T; defined under `jit`",
    ),
    Row(
        36,
        "D",
        "lengths of another shape or dtype",
        "TypeError or ValueError",
    ),
    Row(
        37,
        "D",
        "T = 0",
        "no outputs, and the final state is the initial state",
    ),
    Row(
        38,
        "D",
        "B, T, hidden size or input size of 0 or 1",
        "values equal those of the equations",
    ),
    Row(
        39,
        "D",
        "another number of features",
        "an error with expected and given sizes, and the layer",
    ),
    Row(
        40,
        "D",
        "a state of another structure, shape or batch",
        "an error with the path of the leaf",
    ),
    Row(
        41,
        "D",
        "inputs, parameters and states of different dtypes",
        "documented promotion; states keep their dtype",
    ),
    Row(
        42,
        "D",
        "x64 on and off",
        "the same code runs, and float32 stays float32",
    ),
    Row(
        43,
        "D",
        "batch and time swapped by mistake",
        "an error if the sizes show it; otherwise documented",
    ),
    Row(
        44,
        "D",
        "masks with gaps, padding on the left, masks of integers",
        "values recorded from Keras",
    ),
    Row(
        45,
        "D",
        "100 000 steps",
        "memory of the forward pass does not grow with T; that of the backward "
        "pass stays in its bound with `remat`",
    ),
    Row(
        46,
        "D",
        "a smaller last batch and different T",
        "at most one compilation per bucket",
    ),
    Row(
        47,
        "D",
        "a donated buffer is used again",
        "an error that says so",
    ),
    Row(
        48,
        "D",
        "a cell of a user leaks a tracer",
        "found by `jax.checking_leaks`",
    ),
)
