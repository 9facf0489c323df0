"""The commands `train`, `sample`, `eval` and `list`.

JAX is imported after the name of the task is known, so `list` and help are fast.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import command_line, tasks
from experiments.errors import UserError, refuse
from experiments.run.options import out_of_range

_TRAIN = """Trains a model for the task {name}: {about}.

Ctrl-C stops after the next few updates, saves the run and scores it. A second Ctrl-C
stops immediately. Exit codes: 0 at the end or after Ctrl-C, 75 after SIGTERM (saved,
continue with --resume), 130 if there was nothing to save, 1 if the loss is larger at
the end, 2 for an error. Presets: {presets}."""
PRESETS: dict[str, dict[str, Any]] = {  # of all tasks
    "quick": {"minutes": 0.25, "hidden_size": 64},
}
_LIST = "Prints the table of tasks."
_SAMPLE = "Samples from the model of a run, such as text, or shows its answers."
_EVAL = "Scores the model of a run on held-out data."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """Options of `sample`.

    Attributes:
      run: Folder of a run.
      best: Use the weights with the best held-out score instead of the last ones.
      count: Number of samples, with seeds --seed, --seed + 1 and so on.
      prime: Text to continue, for a language model. Characters that are not in the
        vocabulary are read as <unk>. Default: a line break.
      prime_file: UTF-8 file with the text to continue.
      length: Number of tokens to generate.
      temperature: Values above 1 give more random text, values below 1 less random
        text. 0 always chooses the most likely token.
      top_k: Sample only from the K most likely tokens.
      top_p: Sample only from the most likely tokens with total probability P.
      seed: Random seed.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    best: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    count: int = 1
    prime: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    prime_file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    length: int = 500
    temperature: float = 0.8
    top_k: Annotated[int | None, tyro.conf.arg(metavar="K")] = None
    top_p: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Options of `eval`.

    Attributes:
      run: Folder of a run.
      best: Use the weights with the best held-out score instead of the last ones.
      text: Score this UTF-8 file instead of the held-out text, for a language model.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    best: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    text: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None


def show_tasks(prog: str, arguments: list[str]) -> int:
    """Prints the table of tasks."""
    command_line.parse(command_line.NoOptions, prog, arguments, description=_LIST)
    print(tasks.listing())
    print(
        "\nMeasured with the default options, on two busy cores. See "
        "experiments/RESULTS.md for the spread over seeds."
    )
    return 0


def train(prog: str, arguments: list[str]) -> int:
    """Starts or resumes a run."""
    if not arguments or arguments[0].startswith("-"):
        print(f"usage: {prog} TASK [options]\n\n{tasks.listing()}")
        return 0 if arguments else 2
    with contextlib.ExitStack() as stack:
        with held_signals():  # JAX is imported
            task = tasks.find(arguments[0])
            request = stack.enter_context(_late("train").stop_requests())
        prog, arguments = f"{prog} {task.name}", arguments[1:]
        presets = ", ".join(PRESETS | task.presets)
        about = _TRAIN.format(name=task.name, about=task.about, presets=presets)
        options = parse(task, prog, arguments, about)
        old = None
        if options.resume is not None:
            folder = _late("folder")
            old = folder.read(options.resume, task).options
            options = command_line.parse(task.options, prog, arguments, default=old)
            options = _one_length(old, options)
            options.check()
        prepare(options.devices)
        _late("devices").connect(options)
        stack.enter_context(_late("train").watched())
        if _late("devices").is_silent():
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        return _late("train").run_until(request, task, options, old)


def parse(task: Any, prog: str, arguments: list[str], about: str = "") -> Any:
    """Returns the options of a new run, which may start from a preset.

    Raises:
      UserError: If there is no such preset, or an option is out of range.
    """
    given: dict[str, Any] = {"description": about or None}
    options = command_line.parse(task.options, prog, arguments, **given)
    if options.preset is not None:
        known = PRESETS | task.presets
        if options.preset not in known:
            raise UserError(
                f"--preset must be one of {', '.join(known)} for {task.name}, got "
                f"{options.preset}."
            )
        start = task.options(**known[options.preset])
        given["default"] = start
        options = command_line.parse(task.options, prog, arguments, **given)
    options.check()
    return options


def sample(prog: str, arguments: list[str]) -> int:
    """Prints what the model of a run makes.

    Raises:
      UserError: If the run cannot be used.
    """
    how = _checked(command_line.parse(Sample, prog, arguments, description=_SAMPLE))
    prepare("1")
    run, model, params = _late("folder").trained(how.run, how.best)
    writes = hasattr(run.task, "write")
    if writes and how.prime is not None:
        run.task.warn_of_unknown(run.data.saved, how.prime)
    for seed in range(how.seed, how.seed + how.count):
        if writes:
            one = dataclasses.replace(how, seed=seed)
            text = run.task.write(model, params, run.data.saved, one)
        else:
            text = run.task.show(model, params, run.data.saved, seed, False)
        if not text:
            raise UserError(f"the task {run.task.name} has no samples to show.")
        if sys.stdout.isatty():
            printable = _late("terminal").printable
            text = "\n".join(map(printable, text.split("\n")))
        title = f"=== seed {seed}\n" if how.count > 1 else ""
        print(f"{title}{text}")
    return 0


def _checked(how: Sample) -> Sample:
    """Returns the options with the text to continue, if they are in range."""
    bounds = {"length": 0, "temperature": 0, "top_k": 1, "count": 1}
    wrong = out_of_range(how, bounds, ["top_p"], at_most={"top_p": 1})
    if how.prime is not None and how.prime_file is not None:
        wrong.append("--prime and --prime-file cannot be combined: omit one")
    elif how.prime_file is not None:
        corpus = importlib.import_module("experiments.tasks.corpus")
        how = dataclasses.replace(how, prime=corpus.read_text(how.prime_file)[1])
    if how.prime == "":
        wrong.append("--prime must have at least one character, such as a space")
    refuse(wrong)
    return how


def evaluate(prog: str, arguments: list[str]) -> int:
    """Scores the model of a run on held-out data.

    Raises:
      UserError: If the run cannot be used, or its data is not there.
    """
    how = command_line.parse(Evaluate, prog, arguments, description=_EVAL)
    prepare("1")
    folder, terminal = _late("folder"), _late("terminal")
    run, model, params = folder.trained(how.run, how.best)
    if how.text is not None:
        data = run.task.other(run.data, how.text)
    else:
        data = run.task.load(run.options)
        if folder.identity(data) != folder.identity(run.data):
            raise UserError(
                f"{how.run} was trained on different data "
                f"({run.data.name}): restore the original data."
            )
    with terminal.waiting("scoring held-out data") as progress:
        score = run.task.score(run.options, model, params, data, progress)
    print(score.words)
    print(json.dumps(score.figures))
    return 0


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Delays signals until the end of the block, such as the import of JAX."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    numbers = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def _one_length(old: Any, new: Any) -> Any:
    """Lets a new length in steps replace an old length in minutes, and vice versa."""
    names = ("minutes", "steps")
    longer = {name: getattr(new, name) != getattr(old, name) for name in names}
    if sum(longer.values()) != 1:
        return new
    if longer["steps"]:
        return dataclasses.replace(new, minutes=None)
    return dataclasses.replace(new, steps=None)


def prepare(devices: str) -> None:
    """Chooses devices and folders before JAX computes something."""
    # A text may contain characters that the terminal cannot encode.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    _late("devices").prepare(devices)
    _late("cache").enable()


def _late(name: str) -> Any:
    return importlib.import_module(f"experiments.run.{name}")
