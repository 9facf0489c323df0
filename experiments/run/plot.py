"""The command `plot`: the metrics of runs as a figure in a file.

The page of `report` shows more of one run; this is for papers and slides.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import figures
from experiments.command_line import parse
from experiments.errors import UserError
from experiments.run import folder, results
from jrnn.interop import files

_ABOUT = """Plots the metrics of runs to a file: loss, held-out score, and the norm of
the gradient, by update."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plot:
    """Options of `plot`.

    Attributes:
      runs: Folders of runs, all of the same task.
      out: The file, which ends in .png, .svg or .pdf.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]


def main(prog: str, arguments: list[str]) -> int:
    """Draws the figure."""
    how = parse(Plot, prog, arguments, description=_ABOUT)
    figures.check(how.out)
    paths = results.find(how.runs)
    runs = [folder.read(path) for path in paths]
    names = sorted({run.task.name for run in runs})
    if len(names) > 1:
        raise UserError(f"all runs must belong to one task, got {', '.join(names)}.")
    figures.save(draw(paths, runs), how.out)
    print(how.out)
    return 0


def draw(paths: list[Path], runs: list[folder.Run]) -> Any:
    """Returns the figure.

    Raises:
      UserError: If a run has no metrics.
    """
    task = runs[0].task
    title = f"{task.name}: {task.about}"
    settings = (
        f"{task.describe(runs[0].options)}, on {runs[0].data.name}"
        if len(runs) == 1
        else f"{len(runs)} runs; a line is a run"
    )
    figure, (loss, score, norm) = figures.new(title, settings, 3, (11, 4.0))
    for path in paths:
        metrics = lines(path / "metrics.jsonl")
        if not metrics:
            raise UserError(f"{path} has no metrics yet: train it first.")
        steps = [row["step"] for row in metrics]
        loss.plot(steps, [_number(row["loss"]) for row in metrics], label=path.name)
        norm.plot(steps, [_number(row["norm"]) for row in metrics])
        samples = lines(path / "samples.jsonl")
        figure_name = next(iter(samples[-1]["figures"])) if samples else "score"
        at = [row["step"] for row in samples]
        score.plot(at, [row["figures"][figure_name] for row in samples], "o-")
        score.set(ylabel=f"held out: {figure_name}")
    loss.set(ylabel=f"loss of the training, {task.unit}")
    norm.set(ylabel="norm of the gradient before clipping", yscale="log")
    for ax in (loss, score, norm):
        ax.set_xlabel("update")
    if len(runs) > 1:
        figure.legend(loc="outside right upper", frameon=False, fontsize=7)
    return figure


def lines(file: Path) -> list[dict[str, Any]]:
    """Returns the rows of a record, without those that are damaged or incomplete."""
    try:
        text = files.read_regular(file).decode("utf-8", errors="replace")
    except OSError:
        return []
    rows = []
    for line in text.split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
    return rows


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
