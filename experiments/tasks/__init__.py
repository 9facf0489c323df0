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
    about: str
    minutes: float  # on two cores
    expected: str  # what the default options reach in this time


TABLE = {
    "char_lm": Row(
        "language model",
        "the next character of any text",
        2,
        "1.9 bits per character of the Python language reference",
    ),
    "word_lm": Row("language model", "the next word of any text", 5, ""),
    "digits": Row("many to one", "the digit in an image, pixel by pixel", 2, ""),
    "names": Row("one to many", "names of several languages, by category", 2, ""),
    "addition": Row("encoder-decoder", "the sum of two numbers, as text", 3, ""),
    "dates": Row("encoder-decoder", "dates of many languages, as ISO 8601", 5, ""),
    "code_tags": Row("many to many", "keyword, name, string, ... in Python", 5, ""),
    "sunspots": Row("time series", "the sunspots of the next year", 1, ""),
    "adding": Row("memory", "the sum of two marked numbers", 2, ""),
    "copy": Row("memory", "ten symbols, repeated after a long gap", 2, ""),
    "chorales": Row("music", "the notes of the next step of a chorale", 2, ""),
    "parity": Row("memory", "whether the number of ones so far is odd", 1, ""),
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
            f"no task is called {name!r}.{hint} Tasks are {', '.join(TABLE)}."
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
