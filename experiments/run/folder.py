"""The folder of a run.

    config.json           task, options, and what identifies data and starting weights
    env.json              one entry per session: versions, devices, command
    metrics.jsonl         one line per ten updates
    samples.jsonl         one line per sample from the model during training
    gradients.jsonl       how the gradient depends on the lag, 24 times
    checkpoints/          everything needed to continue, of `jrnn.training.checkpoints`
    weights.safetensors   the parameters only, for sampling
    best.safetensors      those of the best held-out score during the training
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
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments import tasks
from experiments.errors import UserError
from experiments.run.disk import remove_leftovers, write_json, write_text, writing
from experiments.run.task import Data, Task
from jrnn.interop import files
from jrnn.storage import named_arrays
from jrnn.training import processes
from jrnn.training.checkpoints import Checkpoints, fingerprint

FORMAT = 2
KEPT = 2  # number of checkpoints; the newest may be damaged
LAST, BEST = "weights.safetensors", "best.safetensors"
RECORDS = ["metrics.jsonl", "samples.jsonl", "gradients.jsonl"]
_VERSIONS = ["jax", "jaxlib", "numpy", "optax"]


class Run(NamedTuple):
    """What config.json says of a run."""

    task: Task
    options: Any
    data: Data  # without arrays
    start: str | None = None  # SHA-256 of the file of --weights


def facts(task: Task, options: Any, data: Data) -> dict[str, Any]:
    """Returns what may not change when a run is resumed. Checkpoints contain it."""
    saved = fingerprint(json.dumps(data.saved, sort_keys=True))
    return {
        "task": task.name,
        "options": options.fixed,
        "data": {**data.facts, "saved": saved},
    }


@contextlib.contextmanager
def opened(path: Path, facts: dict[str, Any]) -> Iterator[Checkpoints]:
    """Locks the folder for this process and opens its checkpoints.

    Raises:
      CheckpointError: If another process uses the folder, or it cannot be written.
    """
    with Checkpoints(path / "checkpoints", facts, keep=KEPT) as store:
        if processes.is_first():
            remove_leftovers(path)
        yield store


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
        "start": options.weights and weights_hash(options.weights),
    }
    write_json(path / "config.json", content)


def weights_file(path: Path) -> Path:
    """Returns the file of `--weights`: the path, or the last weights of a run there."""
    return path / LAST if path.is_dir() else path


def weights_hash(path: Path) -> str:
    """Returns the SHA-256 of the file of `--weights`."""
    with weights_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
                f"it has format {written}, but this version reads format {FORMAT}."
            )
        if task is not None and content["task"] != task.name:
            raise UserError(
                f"it is a run of the task {content['task']}, not {task.name}."
            )
        found = tasks.find(content["task"])
        described = content["data"]
        data = Data(described["name"], described["facts"], described["saved"], None)
        options = found.options.from_json(content["options"])
        return Run(found, options, data, content.get("start"))
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


def record_session(path: Path, devices: str) -> None:
    """Adds an entry to env.json: versions, devices and the command."""
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
    write_json(file, [*sessions, now])


def save_weights(
    path: Path, params: Any, step: int, data: Data, name: str = LAST, **more: Any
) -> None:
    """Writes the parameters, to sample and to score them."""
    file, arrays = path / name, named_arrays.flatten(params)
    known = {"format": FORMAT, "step": step, "data": identity(data), **more}
    texts = {name: json.dumps(value) for name, value in known.items()}
    with writing(file, sum(array.nbytes for array in arrays.values())):
        files.save_arrays(file, arrays, texts)


def load(file: Path, template: Any) -> tuple[Any, dict[str, Any]]:
    """Reads parameters and their facts, as written by `save_weights`.

    Raises:
      FileError: If the file is damaged or of another format.
      UserError: If config.json describes another model.
    """
    arrays, texts = files.load_arrays(file, signed=True)
    facts = {name: json.loads(text) for name, text in texts.items()}
    if facts.get("format") != FORMAT:
        raise files.FileError(
            f"{file} has format {facts.get('format')}, but this version reads {FORMAT}."
        )
    try:
        return files.restore(template, arrays), facts
    except files.FileError as error:  # the hash is right, so this is no damage
        raise UserError(
            f"config.json describes a different model than {file}, whose weights are "
            f"undamaged: {error} Restore the original config.json."
        ) from None


def best_score(path: Path) -> float | None:
    """Returns the score of the best parameters that are saved; None for none."""
    try:
        _, texts = files.load_arrays(path / BEST, signed=True)
        return float(json.loads(texts["score"]))
    except (OSError, files.FileError, KeyError, ValueError, TypeError):
        return None


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
            write_text(file, "".join(kept))


def trained(path: Path, best: bool = False) -> tuple[Run, Any, Any]:
    """Returns a run, its model and its last parameters, or those of the best score.

    Raises:
      UserError: If there is no run, or it has not saved a model.
    """
    run = read(path)
    model = run.task.model(run.options, run.data.saved)
    draw = functools.partial(run.task.init, model)
    template = jax.eval_shape(draw, jax.random.key(0))
    weights = path / (BEST if best else LAST)
    try:
        params, facts = load(weights, template)
    except OSError as error:
        raise UserError(
            f"{weights}: {error.strerror}. The run has not saved a model yet."
        ) from None
    except files.FileError as error:
        raise UserError(str(error)) from None
    if facts["data"] != identity(run.data):
        raise UserError(f"{weights} and config.json belong to different data.")
    return run, model, params
