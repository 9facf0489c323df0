"""Section B of the drill: resuming after a change."""

from experiments.drill import changes, continuing
from experiments.drill.rows import Row

ROWS = (
    Row(
        18,
        "B",
        "another size, number of layers or cell",
        "an error before the first step that lists each difference",
        changes.another_model,
    ),
    Row(
        19,
        "B",
        "another learning rate, batch size or seed",
        "a warning for what may change, an error for the rest",
        changes.another_recipe,
    ),
    Row(
        20,
        "B",
        "one byte of the corpus or the vocabulary changed",
        "refused",
        changes.another_text,
    ),
    Row(
        21,
        "B",
        "another dtype",
        "refused, unless a cast is asked for",
        changes.another_dtype,
    ),
    Row(
        22,
        "B",
        "another optimizer",
        "refused",
        changes.another_optimizer,
    ),
    Row(
        23,
        "B",
        "1, 2 or 4 devices instead of another number",
        "losses within 1e-5 over 50 steps, and a warning that bits may differ",
        continuing.other_devices,
    ),
    Row(
        24,
        "B",
        "another version of JAX or jrnn",
        "a warning with both versions",
        continuing.another_version,
    ),
    Row(
        25,
        "B",
        "a finished run is resumed",
        "nothing changes, and the exit code is 0",
        continuing.finished,
    ),
    Row(
        26,
        "B",
        "a run is resumed in the middle of an epoch",
        "the batches are those of an uninterrupted run, in the same order",
        continuing.within_an_epoch,
    ),
)
