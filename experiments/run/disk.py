"""Files of a run: written whole, by process 0, with errors that say what to do."""

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from jrnn.interop import files
from jrnn.training import processes


def append_line(file: Path, line: str) -> None:
    """Adds a line to a text file."""
    if processes.is_first():
        with writing(file, len(line)), open(file, "a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def write_json(file: Path, content: Any) -> None:
    """Writes a JSON file atomically."""
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Writes a text file atomically."""
    if processes.is_first():
        with writing(file, len(text)):
            files.write_whole(file, [text.encode()])


def remove_leftovers(path: Path) -> None:
    """Removes the incomplete files of a run that was killed."""
    for part in path.glob(".*.part"):
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
