"""The command `sweep`: trains a task with every combination of some options."""

import collections
import dataclasses
import difflib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from experiments import tasks
from experiments.command_line import parse
from experiments.errors import UserError, refuse
from experiments.run import (
    commands,
    folder,
    models,
    results,
    terminal,
    together,
    train,
)
from experiments.run.options import flag, out_of_range
from experiments.run.task import Task
from jrnn.training.stopping import StopRequest, stop_requests

_ABOUT = """Trains {name} with every combination of the values of --grid, and several
seeds.

Every run has a folder of its own in --out. A run that is finished is not trained again,
and one that was stopped goes on, so the same command continues a sweep. All other
options are those of `train {name}`. At the end there is a table of the scores."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """Options of `sweep`.

    Attributes:
      grid: An option of the task and its values, such as hidden_size=64,128. It can be
        given several times.
      seeds: Number of seeds: --seed, --seed + 1 and so on.
      vmap_seeds: Train all seeds of a combination at once, in one compiled program.
      out: Folder of the runs. Default: runs/sweep-TASK.
    """

    grid: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(metavar="KEY=A,B,..."),
    ] = ()
    seeds: int = 1
    vmap_seeds: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None


class Point(NamedTuple):
    """One run of a sweep."""

    path: Path
    options: Any
    old: Any  # options of the run that is there; None for none
    finished: bool


def main(prog: str, arguments: list[str]) -> int:
    """Trains the runs that are not finished, and prints a table."""
    if not arguments or arguments[0].startswith("-"):
        print(f"usage: {prog} TASK --grid KEY=A,B [options]\n\n{tasks.listing()}")
        return 0 if arguments else 2
    task = tasks.find(arguments[0])
    prog = f"{prog} {task.name}"
    how, rest = parse(
        Sweep,
        prog,
        arguments[1:],
        description=_ABOUT.format(name=task.name),
        return_unknown_args=True,
    )
    out = how.out or Path("runs") / f"sweep-{task.name}"
    points = plan(task, prog, how, rest, out)
    commands.prepare(points[0].options.devices)
    with stop_requests() as request:
        failed = run(request, task, points, how.vmap_seeds)
    print(f"\n{table([point.path for point in points], grid(task, how.grid))}")
    for path, why in failed.items():
        terminal.warn(f"{path}: {why}")
    if request:
        terminal.say("\nStopped. The same command continues the sweep.")
        return request.exit_code
    return 1 if failed else 0


def plan(
    task: Task, prog: str, how: Sweep, rest: Sequence[str], out: Path
) -> list[Point]:
    """Returns all runs, after a check of all options.

    Raises:
      UserError: If an option of one run is wrong, or its folder has another run.
    """
    refuse(out_of_range(how, {"seeds": 1}))
    values = grid(task, how.grid)
    base = commands.parse(task, prog, [*rest])
    if base.resume is not None:
        raise UserError("omit --resume: the same command continues a sweep.")
    if "seed" not in values:
        values["seed"] = [str(base.seed + n) for n in range(how.seeds)]
    elif how.seeds > 1:
        raise UserError("--seeds and --grid seed= cannot be combined: omit one.")
    points = []
    for chosen in itertools.product(*values.values()):
        pairs = list(zip(values, chosen, strict=True))
        flags = [word for k, v in pairs for word in (flag(k), v)]
        options = commands.parse(task, prog, [*rest, *flags])
        path = out / ",".join(f"{k}={v}" for k, v in pairs).replace("/", "_")
        options = dataclasses.replace(options, out=path)
        models.check_cell(task.cell, options)
        points.append(_point(task, path, options))
    return points


def grid(task: Task, given: Sequence[str]) -> dict[str, list[str]]:
    """Returns the values of each option of a grid.

    Raises:
      UserError: If one is not an option of the task, or may not differ.

    Example:
      >>> grid(tasks.find("parity"), ["cell=gru,lstm", "hidden-size=4"])
      {'cell': ['gru', 'lstm'], 'hidden_size': ['4']}
    """
    names = {field.name for field in dataclasses.fields(task.options)}
    names -= task.options.OF_THE_MACHINE
    found: dict[str, list[str]] = {}
    for text in given:
        key, equals, values = text.partition("=")
        name = key.strip("-").replace("-", "_")
        if not equals or not all(values.split(",")):
            raise UserError(f"--grid must be KEY=A,B, such as seed=1,2, got {text!r}.")
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" Do you mean {near[0]}?" if near else ""
            raise UserError(
                f"--grid {text}: {task.name} has no option {name} that can vary.{hint}"
            )
        if name in found:
            raise UserError(
                f"--grid {name} is given twice: list all its values once, "
                "as in KEY=A,B."
            )
        found[name] = list(dict.fromkeys(values.split(",")))
    return found


def run(
    request: StopRequest, task: Task, points: Sequence[Point], at_once: bool = False
) -> dict[Path, str]:
    """Trains until a stop request; returns what went wrong, by the folder of a run."""
    failed: dict[Path, str] = {}
    number = 0
    for group in groups(points) if at_once else [[point] for point in points]:
        open_ = [point for point in group if not point.finished]
        for point in group:
            number += 1
            done = ": finished" if point.finished else ""
            terminal.say(f"[{number}/{len(points)}] {point.path}{done}")
        try:
            codes = _train(request, task, open_)
        except UserError as error:
            failed |= {point.path: str(error) for point in open_}
            codes = []
        for point, code in zip(open_, codes, strict=False):
            if code == train.DIVERGED:
                failed[point.path] = "the loss is larger than at the start"
        if request:
            break
    return failed


def groups(points: Sequence[Point]) -> list[list[Point]]:
    """Groups points that differ only in their seed."""
    found: dict[str, list[Point]] = collections.defaultdict(list)
    for point in points:
        options = {**point.options.to_json(), "seed": None}
        found[json.dumps(options, sort_keys=True)].append(point)
    return list(found.values())


def _train(request: StopRequest, task: Task, points: Sequence[Point]) -> list[int]:
    """Trains runs, several at once; returns their exit codes."""
    if len(points) > 1:
        options, olds = zip(*((p.options, p.old) for p in points), strict=True)
        return together.run_until(request, task, options, olds)
    return [train.run_until(request, task, p.options, p.old) for p in points]


def table(paths: Sequence[Path], varied: Sequence[str] | dict[str, Any]) -> str:
    """Returns a table of the scores of finished runs, with mean and spread."""
    names = [name for name in varied if name != "seed"]
    done = [
        result
        for path in paths
        if (path / "config.json").exists()
        and (result := results.read(path)) is not None
    ]
    rows = []
    for group in results.groups(results.latest(done).values()):
        options = vars(group[0].run.options)
        rows.append(
            [
                *(str(options[name]) for name in names),
                *(results.score(group, name) for name in group[0].figures),
                str(len(group)),
                results.minutes(group),
            ]
        )
    if not rows:
        return "No run is finished."
    return terminal.table([*names, *done[0].figures, "seeds", "minutes"], rows)


def _point(task: Task, path: Path, options: Any) -> Point:
    """Returns a run, with what its folder has of it.

    Raises:
      UserError: If the folder has a run with other options.
    """
    if not (path / "config.json").exists():
        return Point(path, options, None, finished=False)
    old = folder.read(path, task).options
    options = dataclasses.replace(options, out=None, resume=path)
    before, now = old.to_json(), options.to_json()
    free = {"minutes", "steps", *options.OF_THE_MACHINE}
    other = [name for name in now if name not in free and now[name] != before[name]]
    if other:
        raise UserError(
            f"{path} contains a run with a different {', '.join(other)}: choose "
            "another folder with --out."
        )
    finished = old.budget == options.budget and results.read(path) is not None
    return Point(path, options, old, finished)
