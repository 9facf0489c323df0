"""The tasks. Each is one file, and one line of the table here."""

import difflib
import pkgutil
from typing import TYPE_CHECKING, NamedTuple

from experiments.errors import UserError

if TYPE_CHECKING:
    from experiments.run.task import Task


class Row(NamedTuple):
    """A task in the list of tasks."""

    kind: str
    minutes: float  # on two cores, with the start and the score; rounded up
    expected: str  # what the default options reach; most are the mean of three seeds


TABLE = {
    "char_lm": Row(
        "language model",
        3,
        "1.7 bits per character of the Python language reference; with --preset "
        "shakespeare and --text tinyshakespeare.txt: 1.45 nats after 5 minutes",
    ),
    "word_lm": Row(
        "language model", 7, "perplexity 6.5 of the Python language reference"
    ),
    "names": Row("one to many", 4, "1.53 nats per character; --text names.txt: 1.98"),
    "digits": Row(
        "many to one", 2, "97.8 % right; --data mnist1d --steps 1500: 97.4 %"
    ),
    "code_tags": Row("many to many", 1, "99.2 % right"),
    "addition": Row("encoder-decoder", 2, "99.5 % exact"),
    "dates": Row("encoder-decoder", 2, "99.9 % exact"),
    "chorales": Row("music", 2, "8.56 nats per step, with --data JSB_Chorales.mat"),
    "sunspots": Row(
        "time series", 0.2, "relative variance 0.10 in 1921-55 and 0.28 in 1956-79"
    ),
    "adding": Row("memory", 2, "squared error 0.0002"),
    "copy": Row("memory", 2, "0.005 nats per step"),
    "parity": Row("memory", 0.2, "100 % right at unseen lengths"),
}


def find(name: str) -> "Task":
    """Returns a task by its name.

    Raises:
      UserError: If there is none; the message names the nearest.
    """
    name = name.replace("-", "_")
    if name not in TABLE:
        near = difflib.get_close_matches(name, TABLE, n=1)
        hint = f" Do you mean {near[0]}?" if near else ""
        raise UserError(
            f"there is no task {name!r}.{hint} Tasks are {', '.join(TABLE)}."
        )
    return pkgutil.resolve_name(f"experiments.tasks.{name}:TASK")


def listing() -> str:
    """Returns the table as text."""
    rows = [("task", "kind", "minutes", "expected result")]
    rows += [(n, r.kind, f"{r.minutes:g}", r.expected) for n, r in TABLE.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
