"""Rows of the scoreboard: a fault, what is expected, and the check that causes it."""

import importlib
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

SECTIONS = {
    "A": "Crashes and storage",
    "B": "Resuming after a change",
    "C": "Numbers that are not finite",
    "D": "Shapes, lengths and dtypes",
    "E": "Data and text",
    "F": "Several processes",
    "G": "Hostile files",
    "H": "What the library promises",
}


class Result(NamedTuple):
    """What a check found."""

    passed: bool
    trials: int
    failures: int
    note: str = ""  # what was measured, or the first failure


Check = Callable[[Path, bool], Result]  # takes an empty folder, and whether to be quick


@dataclass(frozen=True)
class Row:
    """One row of the scoreboard.

    Attributes:
      number: The number of the row, from 1.
      section: A letter of `SECTIONS`.
      fault: What goes wrong.
      expected: What should happen then.
      check: Causes the fault in a number of trials and counts failures. It gets an
        empty folder, and whether a few trials are enough. None: not written yet.
    """

    number: int
    section: str
    fault: str
    expected: str
    check: Check | None = None


class Outcome(NamedTuple):
    """A row that was run. Without a check there is no result."""

    row: Row
    result: Result | None
    seconds: float


def count(trials: Iterable[str | None], note: str = "") -> Result:
    """Counts trials. Each is None if it went as expected, or says what went wrong.

    Example:
      >>> count([None, "the last byte was not noticed", None])
      Result(passed=False, trials=3, failures=1, note='the last byte was not noticed')
      >>> count([None, None], note="2 files").passed
      True
    """
    found = list(trials)
    failures = [fault for fault in found if fault is not None]
    passed = bool(found) and not failures
    shown = note if passed else failures[0] if failures else "there was no trial"
    return Result(passed, len(found), len(failures), shown)


def attempt(trial: Callable[..., str | None], *arguments: Any) -> str | None:
    """Runs a trial; an exception is a failure.

    Example:
      >>> attempt(lambda n: 1 / n, 0)
      'ZeroDivisionError: division by zero'
    """
    try:
        return trial(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def refused(
    action: Callable[[], object],
    kind: type[Exception] | tuple[type[Exception], ...],
    *words: str,
) -> str | None:
    """Returns None if an action raises this error, with these words in its message.

    Example:
      >>> refused(lambda: int("a"), ValueError, "'a'", "base 10")
      >>> refused(lambda: int("1"), ValueError)
      'it was accepted'
    """
    try:
        action()
    except kind as error:
        said = "\n".join([str(error), *getattr(error, "__notes__", [])])
        lacking = [word for word in words if word not in said]
        return f"{said!r} does not say {lacking}" if lacking else None
    except Exception as error:
        return f"{type(error).__name__} instead: {error}"
    return "it was accepted"


def run(row: Row, folder: Path, quick: bool) -> Outcome:
    """Runs the check of a row. An exception is a failure with its last line as note."""
    if row.check is None:
        return Outcome(row, None, 0.0)
    began = time.monotonic()
    try:
        result = row.check(folder, quick)
    except Exception as error:
        traceback.print_exc()
        result = Result(False, 1, 1, f"{type(error).__name__}: {error}")
    return Outcome(row, result, time.monotonic() - began)


def all_rows() -> list[Row]:
    """Returns the rows of all sections, in order.

    Raises:
      ValueError: If a number is missing or appears twice.
    """
    rows = [
        row
        for letter in SECTIONS
        for row in importlib.import_module(
            f"experiments.drill.section_{letter.lower()}"
        ).ROWS
    ]
    numbers = [row.number for row in rows]
    if numbers != list(range(1, len(rows) + 1)):
        raise ValueError(f"rows must be numbered from 1 on, in order, got {numbers}.")
    return rows
