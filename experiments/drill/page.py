"""The scoreboard as Markdown."""

import os
import platform
import re
import time
from collections.abc import Iterable
from pathlib import Path

import jax

from experiments.drill.rows import SECTIONS, Outcome

HEAD = "| # | fault | expected | trials | failures | seconds | passed |\n"
HEAD += "|--:|---|---|--:|--:|--:|---|"
_YES, _NO, _NOT_RUN = "yes", "**no**", "not run"
_INTRODUCTION = """# Reliability

A run can be killed at any moment, resumed, given bad data and moved to another number
of devices. Each row of these tables causes one such fault a number of times, and counts
how often the outcome is another one than expected.

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


def write(path: Path, outcomes: Iterable[Outcome], command: str, total: int) -> None:
    """Writes the page. Sections that were not run keep what the page has of them."""
    outcomes = list(outcomes)
    old = _sections(path.read_text("utf-8")) if path.exists() else {}
    texts = []
    for letter in SECTIONS:
        own = [each for each in outcomes if each.row.section == letter]
        texts += [_section(letter, own, command)] if own else []
        texts += [old[letter]] if not own and letter in old else []
    body = "\n".join(texts)
    summary = f"**Rows passed: {passed(body)} / {total}.**\n"
    path.write_text("\n".join([_INTRODUCTION, summary, body]), "utf-8")


def _section(letter: str, outcomes: list[Outcome], command: str) -> str:
    notes = [
        f"* Row {row.number}: {' '.join(result.note.split())}"
        for row, result, _ in outcomes
        if result is not None and result.note
    ]
    return "\n".join(
        [
            f"## {letter}. {SECTIONS[letter]}",
            "",
            f"Made by `{command}` on {_machine()}.",
            "",
            HEAD,
            *map(line, outcomes),
            "",
            *notes,
            *([""] if notes else []),
        ]
    )


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
