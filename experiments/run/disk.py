"""Files of a run: written whole, locked, with errors that say what to do."""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from jrnn.interop import files

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder are not detected
    fcntl = None  # type: ignore[assignment]


def append_line(file: Path, line: str) -> None:
    """Adds a line to a text file."""
    with writing(file, len(line)), open(file, "a", encoding="utf-8") as stream:
        stream.write(line + "\n")


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
    """Converts the errors of a disk that cannot be written to a `UserError`."""
    try:
        yield
    except OSError as error:
        bytes_ = "" if size is None else f" ({size} bytes)"
        hint = _HINTS.get(error.errno or 0, "Pass another folder with --out.")
        raise UserError(
            f"cannot write {file}{bytes_}: {error.strerror or error}. {hint}"
        ) from None


_FULL = "Earlier checkpoints are intact: free some space and continue with --resume."
_HINTS = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL}
