"""Section E of the drill: data and text."""

from experiments.drill.rows import Row

ROWS = (
    Row(
        49,
        "E",
        "an empty corpus, or one shorter than a window",
        "an error with both sizes, before compilation",
    ),
    Row(
        50,
        "E",
        "emoji, combining marks, CRLF, NUL, byte order marks, bad UTF-8",
        "decoding undoes encoding; bad UTF-8 is an error with its offset",
    ),
    Row(
        51,
        "E",
        "an unknown character in a prompt",
        "<unk> or an error, never another character",
    ),
    Row(
        52,
        "E",
        "token ids and labels out of range",
        "an error on the host with position, value and size",
    ),
    Row(
        53,
        "E",
        "the vocabulary of another run",
        "refused",
    ),
    Row(
        54,
        "E",
        "a file that cannot be read, or is deleted, during training",
        "an error with its path; the checkpoint is safe",
    ),
)
