"""Section C of the drill: numbers that are not finite."""

from experiments.drill import finite
from experiments.drill.rows import Row

ROWS = (
    Row(
        27,
        "C",
        "one NaN batch",
        "skipped, logged with its position and counted; parameters do not "
        "change in one bit",
        finite.one_bad_batch,
    ),
    Row(
        28,
        "C",
        "more NaN batches in a row than allowed",
        "the run stops with an error, and the last checkpoint is finite",
        finite.too_many_bad_batches,
    ),
    Row(
        29,
        "C",
        "an infinite gradient, with clipping",
        "skipped; parameters stay finite",
        finite.infinite_gradient,
    ),
    Row(
        30,
        "C",
        "weights and inputs times 1000",
        "outputs and gradients are finite",
        finite.saturated,
    ),
    Row(
        31,
        "C",
        "NaN or infinity in the padding",
        "outputs, final state and gradients do not change",
        finite.poisoned_padding,
    ),
    Row(
        32,
        "C",
        "a state with NaN is saved",
        "refused; the checkpoint before it is intact",
        finite.state_with_nan,
    ),
    Row(
        33,
        "C",
        "all rows of a batch are masked",
        "loss 0 and gradient 0",
        finite.all_masked,
    ),
)
