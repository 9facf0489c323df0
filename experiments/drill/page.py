"""The scoreboard as Markdown."""

import os
import platform
import re
import time
from collections.abc import Iterable
from pathlib import Path

import jax

from experiments.drill.rows import SECTIONS, Outcome, Row

HEAD = "| # | fault | expected | trials | failures | seconds | passed |\n"
HEAD += "|--:|---|---|--:|--:|--:|---|"
_YES, _NO, _NOT_RUN = "yes", "**no**", "not run"
_INTRODUCTION = """# Reliability

This page tests what happens when something goes wrong: a run is killed, gets bad data,
or is resumed on another number of devices. Each row injects one kind of fault a number
of times, and counts the trials whose outcome is not the expected one.

```sh
python -m experiments drill             # --sections A,B or --rows 1,2 for some rows
python -m experiments drill --quick     # a few trials of each row
```
"""


def line(outcome: Outcome) -> str:
    """Returns one line of the table."""
    row, result, seconds = outcome
    found = ["-", "-", "-", _NOT_RUN]
    if result is not None:
        passed = _YES if result.passed else _NO
        found = [str(result.trials), str(result.failures), f"{seconds:.1f}", passed]
    cells = [str(row.number), row.fault, row.expected, *found]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def passed(text: str) -> int:
    """Returns the number of rows of a page or a table that passed."""
    return len(re.findall(rf"^\|.*\| {_YES} \|$", text, re.MULTILINE))


def write(
    path: Path, outcomes: Iterable[Outcome], command: str, total: Iterable[Row]
) -> None:
    """Writes the page. Rows that were not run keep what the page has of them."""
    outcomes, total = list(outcomes), list(total)
    old = _sections(path.read_text("utf-8")) if path.exists() else {}
    texts = []
    for letter in SECTIONS:
        own = [each for each in outcomes if each.row.section == letter]
        rows = [row for row in total if row.section == letter]
        texts += [_section(letter, own, command, rows, old.get(letter, ""))] * bool(own)
        texts += [old[letter]] if not own and letter in old else []
    body = "\n".join(texts)
    summary = f"**Rows passed: {passed(body)} / {len(total)}.**\n"
    path.write_text("\n".join([_INTRODUCTION, summary, body]), "utf-8")


def _section(
    letter: str, outcomes: list[Outcome], command: str, rows: list[Row], old: str
) -> str:
    """Returns the text of a section: what was run, and what the old text has else."""
    ran = {outcome.row.number for outcome in outcomes}
    lines = _numbered(r"\| (\d+) \|", old) | {
        outcome.row.number: line(outcome) for outcome in outcomes
    }
    kept = _numbered(r"\* Row (\d+):", old)
    notes = {number: text for number, text in kept.items() if number not in ran}
    for row, result, _ in outcomes:
        if result is not None and result.note:
            notes[row.number] = f"* Row {row.number}: {' '.join(result.note.split())}"
    numbers = [row.number for row in rows]
    made = [f"Made by `{command}` on {_machine()}."]
    if not ran.issuperset(numbers):  # others stay
        made = [*re.findall(r"^Made by .*$", old, re.MULTILINE), *made]
    return "\n".join(
        [
            f"## {letter}. {SECTIONS[letter]}",
            "",
            "\n\n".join(made),
            "",
            HEAD,
            *(lines.get(row.number, line(Outcome(row, None, 0))) for row in rows),
            "",
            *(notes[number] for number in numbers if number in notes),
            *([""] if notes else []),
        ]
    )


def _numbered(pattern: str, text: str) -> dict[int, str]:
    """Returns the lines that begin with a number, by that number."""
    found = re.finditer(rf"^{pattern}.*$", text, re.MULTILINE)
    return {int(match[1]): match[0] for match in found}


def _sections(text: str) -> dict[str, str]:
    """Returns the sections of a page by letter."""
    parts = re.split(r"^(?=## [A-Z]\. )", text, flags=re.MULTILINE)[1:]
    return {part[3]: part.rstrip("\n") + "\n" for part in parts}


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"
    date = time.strftime("%Y-%m-%d")
    return (
        f"{date} with {cores} cores, {platform.system()}, Python "
        f"{platform.python_version()}, JAX {jax.__version__}"
    )
