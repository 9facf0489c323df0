"""The folder of a run.

    config.json           options, corpus and vocabulary
    env.json              one entry per session: versions, devices, command
    metrics.jsonl         one line per ten updates
    samples.txt           samples from the model during training
    checkpoints/N.safetensors   everything needed to continue from step N
    weights.safetensors   the parameters only, for sampling
    result.json           the held-out score

Files are written atomically. Weights and checkpoints contain a hash of their content,
which is verified when they are read.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.char_lm import config as options
from experiments.char_lm.corpus import Corpus, Vocabulary
from experiments.errors import UserError
from jrnn.interop import files
from jrnn.storage import named_arrays

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder are not detected
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
KEPT = 2  # number of checkpoints; the newest may be damaged
_CHECKPOINT = re.compile(r"(\d+)\.safetensors")
_VERSIONS = ["jax", "jaxlib", "numpy", "optax"]


def create(path: Path, config: options.Train, corpus: Corpus) -> None:
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
        "experiment": "char_lm",
        "options": options.to_json(config),
        "corpus": corpus.facts,
        "vocabulary": corpus.vocabulary.characters,
    }
    with writing(path):
        (path / "checkpoints").mkdir(exist_ok=True)
    write_json(path / "config.json", content)


def rewrite_options(path: Path, config: options.Train) -> None:
    """Updates the options of a resumed run."""
    content = json.loads(files.read_regular(path / "config.json"))
    content["options"] = options.to_json(config)
    write_json(path / "config.json", content)


def read(path: Path) -> tuple[options.Train, dict[str, Any], Vocabulary]:
    """Returns the options, the facts about the corpus and the vocabulary of a run.

    Raises:
      UserError: If there is no run, or its format is another one.
    """
    try:
        content = json.loads(files.read_regular(path / "config.json"))
        written = content["format"]
        if content["experiment"] != "char_lm" or written != FORMAT:
            raise UserError(
                f"it is a {content['experiment']} run of format {written}, and this "
                f"program reads char_lm runs of format {FORMAT}."
            )
        vocabulary = Vocabulary(content["vocabulary"])
        return options.from_json(content["options"]), content["corpus"], vocabulary
    except OSError as error:
        raise UserError(
            f"{path} is not a run: config.json: {error.strerror}."
        ) from None
    except (ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{path}/config.json cannot be used: {error}") from None


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
      FileError: If the file is damaged or of another format or model.
    """
    arrays, texts = files.load_arrays(file, signed=True)
    facts = {name: json.loads(text) for name, text in texts.items()}
    if facts.get("format") != FORMAT:
        raise files.FileError(
            f"{file} has format {facts.get('format')}; this program reads {FORMAT}."
        )
    return files.restore(template, arrays), facts


def checkpoints(path: Path) -> list[Path]:
    """Returns the checkpoint files, newest first."""
    numbers = {
        file: int(match.group(1))
        for file in (path / "checkpoints").glob("*")
        if (match := _CHECKPOINT.fullmatch(file.name))
    }
    return sorted(numbers, key=lambda file: -numbers[file])


def append_line(file: Path, line: str) -> None:
    """Adds a line to a text file."""
    with writing(file, len(line)), open(file, "a", encoding="utf-8") as stream:
        stream.write(line + "\n")


def trim_metrics(path: Path, step: int) -> None:
    """Removes the metrics of steps after the restored checkpoint."""
    file = path / "metrics.jsonl"
    kept = []
    with contextlib.suppress(OSError):
        for line in file.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # a partial line: the run was killed
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
    with writing(file):
        files.write_whole(file, ["".join(kept).encode()])


def write_json(file: Path, content: Any) -> None:
    """Writes a JSON file atomically."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with writing(file, len(text)):
        files.write_whole(file, [text.encode()])


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Locks the folder for this process, until it ends or is killed.

    Raises:
      UserError: If another process holds the lock.
    """
    file = path / ".lock"
    with writing(file):
        path.mkdir(parents=True, exist_ok=True)
        stream = open(file, "a+", encoding="utf-8")  # noqa: SIM115  closed below
    with stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                stream.seek(0)
                owner = stream.read().strip() or "another run"
                raise UserError(f"{path} is in use by {owner}.") from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        remove_leftovers(path)
        yield


def remove_leftovers(path: Path) -> None:
    """Removes the incomplete files of a run that was killed."""
    for folder in (path, path / "checkpoints"):
        for part in folder.glob(".*.part"):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(file: Path, size: int | None = None) -> Iterator[None]:
    """Converts the errors of a full or read-only disk to a `UserError`."""
    try:
        yield
    except OSError as error:
        bytes_ = "" if size is None else f" ({size} bytes)"
        raise UserError(
            f"cannot write {file}{bytes_}: {error.strerror or error}. Earlier "
            "checkpoints are intact: free some space and continue with --resume."
        ) from None


def _texts(facts: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in facts.items()}
