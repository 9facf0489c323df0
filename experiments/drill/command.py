"""The command `drill`."""

import dataclasses
import shlex
import tempfile
from pathlib import Path
from typing import Annotated

import jax
import tyro

from experiments.command_line import parse
from experiments.drill import launch, page, rows
from experiments.errors import UserError
from experiments.run import devices

_ABOUT = """Causes faults and checks what happens: kills, damaged files, bad numbers,
hostile input. It prints a table. All rows take about three hours; --quick, minutes."""
DEVICES = 4  # of the CPU, for rows that run within this process


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drill:
    """Options of `drill`.

    Attributes:
      sections: Letters of the sections to run, with commas. Default: all.
      rows: Numbers of the rows to run, with commas. Default: all.
      quick: Run a few trials of each row.
      out: File to write the tables to. It keeps its other rows.
    """

    sections: Annotated[str | None, tyro.conf.arg(metavar="A,B")] = None
    rows: Annotated[str | None, tyro.conf.arg(metavar="1,2")] = None
    quick: bool = False
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None


def main(prog: str, arguments: list[str]) -> int:
    """Runs rows of the scoreboard. Returns 0 if all of them passed, 1 otherwise.

    Raises:
      UserError: If an option names no row.
    """
    how = parse(Drill, prog, arguments, description=_ABOUT)
    total = rows.all_rows()
    chosen = select(total, how)
    devices.prepare(str(DEVICES))
    jax.config.update("jax_compilation_cache_dir", str(launch.CACHE))
    print(page.HEAD, flush=True)
    outcomes = []
    for row in chosen:
        with tempfile.TemporaryDirectory(prefix=f"drill_{row.number}_") as folder:
            outcome = rows.run(row, Path(folder), how.quick)
        print(page.line(outcome), flush=True)
        outcomes.append(outcome)
    print()
    for row, result, _ in outcomes:
        if result is not None and result.note:
            print(f"row {row.number}: {result.note}")
    good = sum(each.result is not None and each.result.passed for each in outcomes)
    print(f"rows passed {good} / {len(total)}", flush=True)
    if how.out is not None:
        command = shlex.join([*prog.split(), *arguments])
        page.write(how.out, outcomes, command, total)
    return 0 if good == len(outcomes) else 1


def select(total: list[rows.Row], how: Drill) -> list[rows.Row]:
    """Returns the rows that the options name.

    Raises:
      UserError: If there is no such section or row.
    """
    letters = how.sections.upper().split(",") if how.sections else list(rows.SECTIONS)
    names = how.rows.split(",") if how.rows else [str(row.number) for row in total]
    unknown = [letter for letter in letters if letter not in rows.SECTIONS]
    known = {str(row.number) for row in total}
    unknown += [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"there is no section or row {', '.join(unknown)}: sections are "
            f"{', '.join(rows.SECTIONS)}, and rows are 1 to {len(total)}."
        )
    return [row for row in total if row.section in letters and str(row.number) in names]
