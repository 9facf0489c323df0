"""The folder of checkpoints: names, atomic changes and the lock.

    step_00000120/          a checkpoint: manifest.json and files of arrays
    aside_00000130_ab12/    a damaged checkpoint, or one that a run went back from
    .part_...               a checkpoint that is being written
    .trash_...              a checkpoint that is being deleted
    .lock                   locked by the process that writes

A checkpoint gets its name when it is complete and on the disk, and loses it before any
of its files is deleted. So every folder with the name of a step is complete.
"""

import contextlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from jrnn.storage.disk import flush_folder
from jrnn.training.checkpoints.manifest import CheckpointError

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder are not detected
    fcntl = None  # type: ignore[assignment]

_STEP = re.compile(r"step_(\d{8,18})")


def step_path(folder: Path, step: int) -> Path:
    """Returns the folder of a checkpoint."""
    return folder / f"step_{step:08d}"


def list_steps(folder: Path) -> list[int]:
    """Returns the steps of all checkpoints, in increasing order.

    Anything else in the folder is ignored: other names, files and links.
    """
    try:
        entries = [*os.scandir(folder)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"cannot read {folder}: {error.strerror}.") from None
    found = []
    for entry in entries:
        match = _STEP.fullmatch(entry.name)
        if match and entry.is_dir(follow_symlinks=False):
            step = int(match.group(1))
            if step_path(folder, step).name == entry.name:
                found.append(step)
    return sorted(found)


def new_part(folder: Path, step: int) -> Path:
    """Makes the folder in which a checkpoint is written."""
    part = folder / f".part_{step:08d}_{secrets.token_hex(4)}"
    part.mkdir()
    return part


def discard(part: Path) -> None:
    """Removes the folder of a checkpoint that failed, if it is still there."""
    shutil.rmtree(part, ignore_errors=True)


def publish(part: Path, step: int) -> None:
    """Gives a complete checkpoint its name."""
    flush_folder(part)
    os.rename(part, step_path(part.parent, step))
    flush_folder(part.parent)


def prune(folder: Path, keep: int) -> None:
    """Deletes all checkpoints but the newest ones."""
    for step in list_steps(folder)[:-keep]:
        trash = folder / f".trash_{step:08d}_{secrets.token_hex(4)}"
        os.rename(step_path(folder, step), trash)
        shutil.rmtree(trash)


def set_aside(folder: Path, step: int) -> Path:
    """Renames a checkpoint, so that it is not used and its step can be saved again."""
    aside = folder / f"aside_{step:08d}_{secrets.token_hex(4)}"
    os.rename(step_path(folder, step), aside)
    flush_folder(folder)
    return aside


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed process was writing or deleting."""
    for pattern in (".part_*", ".trash_*"):
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder, and locks it until the end of the block or of the process.

    The system releases the lock of a killed process.

    Raises:
      CheckpointError: If another process holds the lock, or nothing can be written.
    """
    file = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = open(file, "a+", encoding="utf-8")  # noqa: SIM115  closed below
        _probe(folder)
    except OSError as error:
        raise CheckpointError(
            f"cannot write checkpoints to {folder}: {error.strerror or error}. Pass "
            "another folder, or make this one writable."
        ) from None
    with stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                stream.seek(0)
                owner = stream.read().strip() or "another process"
                raise CheckpointError(
                    f"{folder} is in use by {owner}. Stop it, or use another folder."
                ) from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        remove_leftovers(folder)
        yield


def _probe(folder: Path) -> None:
    """Raises unless a folder can be made here."""
    part = folder / f".part_{secrets.token_hex(4)}"
    part.mkdir()
    part.rmdir()
