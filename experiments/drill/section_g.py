"""Section G of the drill: hostile files."""

from experiments.drill.rows import Row

ROWS = (
    Row(
        60,
        "G",
        "a pickle in a .pt or .npy file",
        "refused, and its code does not run",
    ),
    Row(
        61,
        "G",
        "zip bombs, and headers that declare 4 TiB or a million entries",
        "refused within 1 s and 200 MB",
    ),
    Row(
        62,
        "G",
        "names with `..`, absolute names, backslashes, NUL, very long names",
        "refused; nothing is written elsewhere",
    ),
    Row(
        63,
        "G",
        "shapes and bytes that disagree, overlapping, repeated, extra and "
        "missing arrays",
        "refused, each with its own message",
    ),
    Row(
        64,
        "G",
        "a configuration with an import path or an unknown cell",
        "refused",
    ),
    Row(
        65,
        "G",
        "random bytes of a checkpoint changed",
        "no crash, no hang, no wrong value",
    ),
)
