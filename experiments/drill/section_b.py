"""Section B of the drill: resuming after a change."""

from experiments.drill.rows import Row

ROWS = (
    Row(
        18,
        "B",
        "another size, number of layers or cell",
        "an error before the first step that lists each difference",
    ),
    Row(
        19,
        "B",
        "another learning rate, batch size or seed",
        "a warning for what may change, an error for the rest",
    ),
    Row(
        20,
        "B",
        "one byte of the corpus or the vocabulary changed",
        "refused",
    ),
    Row(
        21,
        "B",
        "another dtype",
        "refused, unless a cast is asked for",
    ),
    Row(
        22,
        "B",
        "another optimizer",
        "refused",
    ),
    Row(
        23,
        "B",
        "1, 2 or 4 devices instead of another number",
        "losses within 1e-5 over 50 steps, and a warning that bits may differ",
    ),
    Row(
        24,
        "B",
        "another version of JAX or jrnn",
        "a warning with both versions",
    ),
    Row(
        25,
        "B",
        "a finished run is resumed",
        "nothing changes, and the exit code is 0",
    ),
    Row(
        26,
        "B",
        "a resumed run in the middle of an epoch",
        "the batches are those of an uninterrupted run, in the same order",
    ),
)
