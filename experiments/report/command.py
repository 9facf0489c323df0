"""The command `report`: a page of one or several runs."""

import dataclasses
import importlib
from pathlib import Path
from typing import Annotated

import tyro

from experiments.command_line import parse
from experiments.run import devices, disk
from jrnn.interop import files

_ABOUT = """Writes a page of one or several runs of a task: one file of HTML that needs
no network. Runs that differ only in their seed share a curve with a band."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Options of `report`.

    Attributes:
      runs: Folders of runs, or folders that contain such folders, as of a sweep.
      best: Show the weights with the best held-out score instead of the last ones.
      out: The file to write. Default: report.html in the first folder.
    """

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")
    ]
    best: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None


def main(prog: str, arguments: list[str]) -> int:
    """Writes the page.

    Raises:
      UserError: If a run cannot be used, or the file cannot be written.
    """
    how = parse(Report, prog, arguments, description=_ABOUT)
    devices.prepare("1")
    page = importlib.import_module("experiments.report.page")
    records = importlib.import_module("experiments.report.records")
    paths = importlib.import_module("experiments.run.results").find(how.runs)
    text = page.report([records.read(path) for path in paths], how.best)
    out = how.out or how.runs[0] / "report.html"
    data = text.encode()
    with disk.writing(out, len(data)):
        files.write_whole(out, [data])
    print(f"{out}: {len(data) / 1e6:.1f} MB")
    return 0
