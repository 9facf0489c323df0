"""The command `results`: a page of all finished runs, and tables of scores."""

import collections
import dataclasses
import json
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from experiments.command_line import parse
from experiments.errors import UserError
from experiments.run import disk, folder, terminal
from experiments.run.options import flag
from experiments.run.task import Goal
from jrnn.interop import files

PAGE = Path(__file__).parents[1] / "RESULTS.md"
_ABOUT = """Writes a page of the scores of finished runs, beside what they should reach.

Runs of equal options and equal starting weights are one row, with the mean and the
standard deviation over their seeds. Unfinished runs, runs that cannot be read, and all
but the run of each seed that finished last are left out, with a warning."""
_INTRODUCTION = """\
# Results

This page is written by `python -m experiments results` from the folders of finished
runs; do not edit it. A score is the mean over seeds, and the standard deviation if
there are several. Every run was scored on held-out data, and the scores without
training are computed by the same code. Minutes are those of the training alone, of the
fastest run, because other work slowed down some of them.
"""
_HEADINGS = (
    "options",
    "score",
    "seeds",
    "to reach",
    "without training",
    "minutes",
    "updates",
    "machine",
    "command",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """Options of `results`.

    Attributes:
      runs: Folders of runs, or folders that contain such folders.
      out: The file of the page. Default: experiments/RESULTS.md.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("runs"),)
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = PAGE


class Result(NamedTuple):
    """A finished run."""

    run: folder.Run
    figures: dict[str, float]
    baselines: dict[str, dict[str, float]]
    step: int
    seconds: float
    machine: str
    together: int = 1  # seeds that were trained at once, in this time
    path: Path = Path()
    finished: float = 0.0  # when its result was written

    @property
    def kind(self) -> str:
        """What runs that differ only in their seed have in common."""
        start = self.run.start or str(self.run.options.weights)
        described = named(self.run, {"seed", "weights"})
        return json.dumps([*described, start, self.run.data.facts])

    @property
    def key(self) -> tuple[str, int]:
        """What runs of equal options and equal seeds have in common."""
        return self.kind, self.run.options.seed


def main(prog: str, arguments: list[str]) -> int:
    """Writes the page."""
    how = parse(Results, prog, arguments, description=_ABOUT)
    results, left = gather(find(how.runs))
    for why in left:
        print(f"warning: left out: {why}", file=sys.stderr)
    if not results:
        some = terminal.amount(len(left), "run")
        raise UserError(f"found {some}, but none is finished, so no page was written.")
    text = page(results)
    with disk.writing(how.out, len(text)):
        files.write_whole(how.out, [text.encode()])
    others = f"; {len(left)} left out" if left else ""
    print(f"{how.out}: {terminal.amount(len(results), 'finished run')}{others}")
    return 0


def gather(paths: Iterable[Path]) -> tuple[list[Result], list[str]]:
    """Returns the results of runs, and why others are left out."""
    found, left = [], []
    for path in paths:
        try:
            result = read(path)
        except UserError as error:  # of an older version, or damaged
            left.append(str(error))
            continue
        if result is None:
            left.append(f"{path} is not finished.")
            continue
        found.append(result)
    kept = latest(found)
    left += [
        f"{one.path} has the options and the seed of {kept[one.key].path}, which "
        "finished later."
        for one in found
        if kept[one.key] is not one
    ]
    return list(kept.values()), left


def latest(results: Iterable[Result]) -> dict[tuple[str, int], Result]:
    """Returns the result that was written last, for all options and seeds."""
    kept: dict[tuple[str, int], Result] = {}
    for one in results:
        other = kept.setdefault(one.key, one)
        kept[one.key] = max(other, one, key=lambda result: result.finished)
    return kept


def find(places: Sequence[Path]) -> list[Path]:
    """Returns the folders of runs in the given folders, in order.

    Raises:
      UserError: If no folder is given, or one contains no run.
    """
    if not places:
        raise UserError("no run is given: pass the folder of a run or of several runs.")
    found: dict[Path, None] = {}
    for place in places:
        runs = sorted(file.parent for file in place.rglob("config.json"))
        if not runs:
            raise UserError(
                f"{place} contains no run: pass the folder of a run or of several runs."
            )
        found |= dict.fromkeys(runs)
    return list(found)


def read(path: Path) -> Result | None:
    """Returns the result of a run, or None if it is not finished.

    Raises:
      UserError: If its files cannot be used.
    """
    run = folder.read(path)
    try:
        found = json.loads(files.read_regular(path / "result.json"))
        session = json.loads(files.read_regular(path / "env.json"))[-1]
        if not found["finished"]:
            return None
        return Result(
            run=of_length(run, int(found["step"])),
            figures={name: float(value) for name, value in found["figures"].items()},
            baselines=found["baselines"],
            step=int(found["step"]),
            seconds=float(found["seconds"]),
            together=int(found.get("together", 1)),
            path=path,
            finished=(path / "result.json").stat().st_mtime,
            machine=f"{session['devices']}, {session['cores']} cores, "
            f"jax {session['jax']}",
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(
            f"{path}/result.json cannot be used: {error!r}. Remove it, and continue "
            "the run with --resume."
        ) from None


def of_length(run: folder.Run, step: int) -> folder.Run:
    """Names the length of a run, unless it is what is now the default of its task.

    Defaults may have changed since, and a length may have been given that is the
    default.
    """
    options = run.options
    if options.minutes is not None or options.UPDATES is None:
        return run
    steps = None if step == options.UPDATES else step
    return run._replace(options=dataclasses.replace(options, steps=steps))


def page(results: Sequence[Result]) -> str:
    """Returns the page, with a table for each task."""
    parts = [_INTRODUCTION]
    tasks: dict[str, list[Result]] = collections.defaultdict(list)
    for result in results:
        tasks[result.run.task.name].append(result)
    for name in sorted(tasks):
        about = tasks[name][0].run.task.about
        rows = [_row(group) for group in groups(tasks[name])]
        parts.append(f"## {name}: {about}\n\n{terminal.table(_HEADINGS, rows)}\n")
    return "\n".join(parts)


def groups(results: Iterable[Result]) -> list[list[Result]]:
    """Returns results of equal options together, in the order of their seeds."""
    kinds: dict[str, list[Result]] = collections.defaultdict(list)
    for result in results:
        kinds[result.kind].append(result)
    return [
        sorted(kind, key=lambda one: one.run.options.seed) for kind in kinds.values()
    ]


def score(group: Sequence[Result], name: str) -> str:
    """Returns a figure, with its spread over seeds."""
    values = [result.figures[name] for result in group]
    mean = f"{statistics.fmean(values):.4g}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2g}"


def minutes(group: Sequence[Result]) -> str:
    """Returns the shortest time, and whether several seeds were trained in it."""
    least = f"{min(result.seconds for result in group) / 60:.2g}"
    most = max(result.together for result in group)
    return least if most == 1 else f"{least} ({most} seeds at once)"


def named(run: folder.Run, without: Iterable[str] = ()) -> tuple[str, dict[str, Any]]:
    """Returns the task of a run, and the options that are not the default ones.

    Weights are named by their path, as files of weights have the same name in all runs.
    """
    hidden = {*run.options.OF_THE_MACHINE, *without}
    given, weights = run.options.given(), run.options.weights
    if weights is not None:
        inside = weights.is_relative_to(Path.cwd())
        given["weights"] = str(weights.relative_to(Path.cwd()) if inside else weights)
    return run.task.name, {k: v for k, v in given.items() if k not in hidden}


def command(group: Sequence[Result]) -> str:
    """Returns the command that trains runs of equal options again."""
    seeds = [result.run.options.seed for result in group]
    name, given = named(group[0].run, {"seed"})
    words = ["python -m experiments", "train", name]
    if len(seeds) > 1:
        words[1:] = ["sweep", name, f"--grid seed={','.join(map(str, seeds))}"]
    elif seeds[0]:
        given["seed"] = seeds[0]
    options = (f"{flag(k)} {shlex.quote(str(v))}" for k, v in given.items())
    return " ".join([*words, *options])


def _row(group: Sequence[Result]) -> list[str]:
    first = group[0]
    run, goals = first.run, first.run.task.goals(first.run.options, first.run.data)
    _, given = named(run, {"seed"})
    shown = dict.fromkeys([next(iter(first.figures)), *(g.figure for g in goals)])
    without = [
        f"{name}: {value:.4g} ({what})"
        for what, baseline in first.baselines.items()
        for name, value in baseline.items()
        if name in shown
    ]
    return [
        ", ".join(f"{k}={v}" for k, v in given.items()) or "the default ones",
        "; ".join(f"{name} {score(group, name)}" for name in shown),
        f"{len(group)}",
        "; ".join(_compared(group, goal) for goal in goals),
        "; ".join(without),
        minutes(group),
        f"{statistics.fmean(result.step for result in group):.0f}",
        ", ".join(dict.fromkeys(result.machine for result in group)),
        f"`{command(group)}`",
    ]


def _compared(group: Sequence[Result], goal: Goal) -> str:
    """Returns whether the mean of a figure reaches a goal."""
    mean = statistics.fmean(result.figures[goal.figure] for result in group)
    lower = group[0].run.task.lower_is_better
    reached = mean <= goal.bound if lower else mean >= goal.bound
    sign, verdict = ("≤" if lower else "≥"), ("reached" if reached else "missed")
    return f"{goal.figure} {sign} {goal.bound:.4g} ({goal.source}): {verdict}"
