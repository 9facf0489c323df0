"""The folder of a run.

    config.json           task, options, and what identifies the data
    env.json              one entry per session: versions, devices, command
    metrics.jsonl         one line per ten updates
    samples.jsonl         one line per sample from the model during training
    gradients.jsonl       how the gradient depends on the lag, 24 times
    checkpoints/N.safetensors   everything needed to continue from step N
    weights.safetensors   the parameters only, for sampling
    result.json           the held-out score

Files are written atomically. Weights and checkpoints contain a hash of their content,
which is verified when they are read.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments import tasks
from experiments.errors import UserError
from experiments.run.disk import write_json, writing
from experiments.run.task import Data, Task
from jrnn.interop import files
from jrnn.storage import named_arrays

FORMAT = 1
KEPT = 2  # number of checkpoints; the newest may be damaged
RECORDS = ["metrics.jsonl", "samples.jsonl", "gradients.jsonl"]
_CHECKPOINT = re.compile(r"(\d+)\.safetensors")
_VERSIONS = ["jax", "jaxlib", "numpy", "optax"]


class Run(NamedTuple):
    """What config.json says of a run."""

    task: Task
    options: Any
    data: Data  # without arrays


def create(path: Path, task: Task, options: Any, data: Data) -> None:
    """Creates the folder of a new run.

    Raises:
      UserError: If it already contains a run, or cannot be written.
    """
    if (path / "config.json").exists():
        raise UserError(
            f"{path} already contains a run. Continue it with `--resume {path}`, or "
            "pass another folder with --out."
        )
    content = {
        "format": FORMAT,
        "task": task.name,
        "options": options.to_json(),
        "data": {"name": data.name, "facts": data.facts, "saved": data.saved},
    }
    with writing(path):
        (path / "checkpoints").mkdir(exist_ok=True)
    write_json(path / "config.json", content)


def rewrite_options(path: Path, options: Any) -> None:
    """Updates the options of a resumed run."""
    content = json.loads(files.read_regular(path / "config.json"))
    content["options"] = options.to_json()
    write_json(path / "config.json", content)


def read(path: Path, task: Task | None = None) -> Run:
    """Returns the task, the options and the identity of the data of a run.

    Args:
      path: The folder.
      task: What the run must be of; None for any task.

    Raises:
      UserError: If there is no run, or its format or its task is another one.
    """
    try:
        content = json.loads(files.read_regular(path / "config.json"))
        written = content["format"]
        if written != FORMAT:
            raise UserError(
                f"it has format {written}, and this program reads format {FORMAT}."
            )
        if task is not None and content["task"] != task.name:
            raise UserError(f"it is a run of {content['task']}, not of {task.name}.")
        found = tasks.find(content["task"])
        described = content["data"]
        data = Data(described["name"], described["facts"], described["saved"], None)
        return Run(found, found.options.from_json(content["options"]), data)
    except OSError as error:
        raise UserError(
            f"{path} is not a run: config.json: {error.strerror}."
        ) from None
    except (ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{path}/config.json cannot be used: {error}") from None


def identity(data: Data) -> str:
    """Returns a hash that identifies data."""
    text = json.dumps([data.facts, data.saved], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def record_session(path: Path, devices: str) -> list[str]:
    """Records the environment in env.json; returns differences to the last session.

    Results are guaranteed to be the same bit for bit only if there are none.
    """
    now = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv[1:],
        "devices": devices,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _VERSIONS},
    }
    file = path / "env.json"
    sessions: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, ValueError):
        sessions = json.loads(file.read_text())
    last = sessions[-1] if sessions else now
    write_json(file, [*sessions, now])
    same = ["devices", "python", *_VERSIONS]
    return [
        f"{name} was {last.get(name)} and is now {now[name]}: results may differ in "
        "their last digits."
        for name in same
        if last.get(name) != now[name]
    ]


def save(path: Path, step: int, learner: Any, facts: dict[str, Any]) -> None:
    """Writes a checkpoint and the weights, and removes old checkpoints."""
    metadata = {**facts, "format": FORMAT, "step": step}
    for file, tree in [
        (path / "checkpoints" / f"{step:08d}.safetensors", learner),
        (path / "weights.safetensors", learner.params),
    ]:
        arrays = named_arrays.flatten(tree)
        with writing(file, sum(array.nbytes for array in arrays.values())):
            files.save_arrays(file, arrays, _texts(metadata))
    with writing(path):
        for old in checkpoints(path)[KEPT:]:
            old.unlink()


def restore(path: Path, template: Any) -> tuple[Any, dict[str, Any], list[str]]:
    """Reads the newest checkpoint that is not damaged.

    Args:
      path: The folder of the run.
      template: A tree with the structure of the saved tree.

    Returns:
      The tree, the facts saved with it (empty if there is no checkpoint), and warnings
      about newer checkpoints that are damaged.

    Raises:
      UserError: If all checkpoints are damaged.
    """
    damaged = []
    for file in checkpoints(path):
        try:
            tree, facts = load(file, template)
        except (OSError, files.FileError) as error:
            damaged.append(f"checkpoint skipped: {error}")
            continue
        return tree, facts, damaged
    if damaged:
        raise UserError("; ".join([f"{path} has no valid checkpoint", *damaged]))
    return template, {}, [f"{path} has no checkpoint yet: starting from the beginning."]


def load(file: Path, template: Any) -> tuple[Any, dict[str, Any]]:
    """Reads a tree and its facts, as written by `save`.

    Raises:
      FileError: If the file is damaged or of another format.
      UserError: If config.json describes another model.
    """
    arrays, texts = files.load_arrays(file, signed=True)
    facts = {name: json.loads(text) for name, text in texts.items()}
    if facts.get("format") != FORMAT:
        raise files.FileError(
            f"{file} has format {facts.get('format')}; this program reads {FORMAT}."
        )
    try:
        return files.restore(template, arrays), facts
    except files.FileError as error:  # the hash is right, so this is no damage
        raise UserError(
            f"config.json describes another model than {file}, which is intact: "
            f"{error} Restore the original config.json."
        ) from None


def checkpoints(path: Path) -> list[Path]:
    """Returns the checkpoint files, newest first."""
    numbers = {
        file: int(match.group(1))
        for file in (path / "checkpoints").glob("*")
        if (match := _CHECKPOINT.fullmatch(file.name))
    }
    return sorted(numbers, key=lambda file: -numbers[file])


def trim_records(path: Path, step: int) -> None:
    """Removes the records of steps after the restored checkpoint."""
    for name in RECORDS:
        file, kept = path / name, []
        with contextlib.suppress(OSError):
            for line in file.read_text("utf-8", errors="replace").split("\n"):
                # A partial line, or damage: the checkpoints do not depend on it.
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
        if kept or file.exists():
            with writing(file):
                files.write_whole(file, ["".join(kept).encode()])


def _texts(facts: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in facts.items()}


def trained(path: Path) -> tuple[Run, Any, Any]:
    """Returns a run, its model and its parameters.

    Raises:
      UserError: If there is no run, or it has not saved a model.
    """
    run = read(path)
    model = run.task.model(run.options, run.data.saved)
    draw = functools.partial(run.task.init, model)
    template = jax.eval_shape(draw, jax.random.key(0))
    weights = path / "weights.safetensors"
    try:
        params, facts = load(weights, template)
    except OSError as error:
        raise UserError(
            f"{weights}: {error.strerror}. The run has not saved a model yet."
        ) from None
    except files.FileError as error:
        raise UserError(str(error)) from None
    if facts["data"] != identity(run.data):
        raise UserError(f"{weights} and config.json are of different data.")
    return run, model, params
