"""Section A of the drill: crashes and storage."""

from experiments.drill import crashes, damage
from experiments.drill.rows import Row

ROWS = (
    Row(
        1,
        "A",
        "kill -9 at a random time during a save",
        "the newest checkpoint is at least the last acknowledged one, and every"
        " one that is listed can be read",
        crashes.killed_in_a_save,
    ),
    Row(
        2,
        "A",
        "kill -9 at a random time during a save in the background",
        "the same; a save is acknowledged only when it is on the disk",
        crashes.killed_in_the_background,
    ),
    Row(
        3,
        "A",
        "kill -9 while old checkpoints are deleted",
        "every checkpoint that is listed can be read",
        crashes.killed_in_a_deletion,
    ),
    Row(
        4,
        "A",
        "kill -9 during the first save",
        "the next run starts at step 0 and reports this",
        crashes.killed_in_the_first_save,
    ),
    Row(
        5,
        "A",
        "kill -9 of a run at a random step, then resume",
        "parameters, optimizer state, key and losses equal those of an "
        "uninterrupted run, bit for bit",
        crashes.killed_once,
    ),
    Row(
        6,
        "A",
        "five kills in one run",
        "the same",
        crashes.killed_five_times,
    ),
    Row(
        7,
        "A",
        "SIGTERM at a random time",
        "saves at the next step and exits with 75 within 30 s",
        crashes.signaled,
    ),
    Row(
        8,
        "A",
        "a second signal",
        "ends the process at once; no file is torn",
        crashes.signaled_twice,
    ),
    Row(
        9,
        "A",
        "a full disk of 2 MB",
        "an error with path and bytes; older checkpoints can be restored, and "
        "nothing unfinished remains after a restart",
        crashes.full_disk,
    ),
    Row(
        10,
        "A",
        "a folder that cannot be written",
        "an error before the first step",
        crashes.read_only,
    ),
    Row(
        11,
        "A",
        "each file of a checkpoint truncated at 0, 10, 50 and 99 %",
        "detected; the previous checkpoint is used, with a warning, or an error "
        "is raised if there is none",
        damage.truncated,
    ),
    Row(
        12,
        "A",
        "one flipped bit",
        "detected",
        damage.flipped,
    ),
    Row(
        13,
        "A",
        "each file of a checkpoint deleted",
        "a warning or an error that names the file",
        damage.deleted,
    ),
    Row(
        14,
        "A",
        "other files, folders and links that form a loop beside the checkpoints",
        "ignored",
        damage.beside_others,
    ),
    Row(
        15,
        "A",
        "two runs in one folder",
        "the second is refused; the lock of a killed run does not block",
        damage.shared,
    ),
    Row(
        16,
        "A",
        "equal or reversed modification times",
        "the newest checkpoint is that of the largest step",
        damage.times_differ,
    ),
    Row(
        17,
        "A",
        "a checkpoint of a newer format",
        "refused, with both versions",
        damage.newer_format,
    ),
)
