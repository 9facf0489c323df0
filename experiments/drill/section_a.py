"""Section A of the drill: crashes and storage."""

from experiments.drill.rows import Row

ROWS = (
    Row(
        1,
        "A",
        "kill -9 at a random time during a save",
        "the newest checkpoint is at least the last acknowledged one, and every"
        " one that is listed can be read",
    ),
    Row(
        2,
        "A",
        "kill -9 at a random time during a save in the background",
        "the same; a save is acknowledged only when it is on the disk",
    ),
    Row(
        3,
        "A",
        "kill -9 while old checkpoints are deleted",
        "every checkpoint that is listed can be read",
    ),
    Row(
        4,
        "A",
        "kill -9 during the first save",
        "the next run starts at step 0 and says so",
    ),
    Row(
        5,
        "A",
        "kill -9 of a run at a random step, then resume",
        "parameters, optimizer state, key and losses equal those of an "
        "uninterrupted run, bit for bit",
    ),
    Row(
        6,
        "A",
        "five kills in one run",
        "the same",
    ),
    Row(
        7,
        "A",
        "SIGTERM at a random time",
        "saves at the next step and exits with 75 within 30 s",
    ),
    Row(
        8,
        "A",
        "a second signal",
        "ends the process at once; no file is torn",
    ),
    Row(
        9,
        "A",
        "a full disk of 2 MB",
        "an error with path and bytes; older checkpoints can be restored, and "
        "nothing unfinished remains after a restart",
    ),
    Row(
        10,
        "A",
        "a folder that cannot be written",
        "an error before the first step",
    ),
    Row(
        11,
        "A",
        "each file of a checkpoint truncated at 0, 10, 50 and 99 %",
        "noticed; the checkpoint before it is used, with a warning, or it is an"
        " error if there is none",
    ),
    Row(
        12,
        "A",
        "one flipped bit",
        "noticed",
    ),
    Row(
        13,
        "A",
        "each file of a checkpoint deleted",
        "a warning or an error that names the file",
    ),
    Row(
        14,
        "A",
        "other files, folders and links that form a loop beside the checkpoints",
        "ignored",
    ),
    Row(
        15,
        "A",
        "two runs in one folder",
        "the second is refused; the lock of a killed run is not in the way",
    ),
    Row(
        16,
        "A",
        "equal or reversed modification times",
        "the newest checkpoint is that of the largest step",
    ),
    Row(
        17,
        "A",
        "a checkpoint of a newer format",
        "refused, with both versions",
    ),
)
