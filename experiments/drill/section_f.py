"""Section F of the drill: several processes."""

from experiments.drill import several
from experiments.drill.rows import Row

ROWS = (
    Row(
        55,
        "F",
        "2 processes with 2 devices each instead of 1 process",
        "losses within 1e-6 over 50 steps, so the batches are the same",
        several.as_one,
    ),
    Row(
        56,
        "F",
        "one process is killed with kill -9, or hangs",
        "the other reports it and exits with 69 within 30 s, and both resume",
        several.lost,
    ),
    Row(
        57,
        "F",
        "no coordinator at the address",
        "an error within the timeout",
        several.no_coordinator,
    ),
    Row(
        58,
        "F",
        "processes with other options, seeds, data or steps",
        "refused by all before the first step",
        several.disagree,
    ),
    Row(
        59,
        "F",
        "one process is slow during a save",
        "the others wait, and the checkpoint is whole",
        several.slow_save,
    ),
)
