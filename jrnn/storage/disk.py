"""Reads and writes whole files."""

import os
import pathlib
import secrets
import stat
from collections.abc import Iterable

from jrnn.storage.formats import Piece, require

Path = str | os.PathLike[str]

MAX_BYTES = 8 << 30


def read_regular(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Returns the content of a regular file.

    Args:
      path: The file.
      max_bytes: The largest size.

    Raises:
      FileError: if it is a link, a device or a pipe, or is larger than `max_bytes`.
      OSError: if it does not exist or cannot be read.

    Example:
      >>> import tempfile
      >>> folder = tempfile.TemporaryDirectory()
      >>> write_whole(f"{folder.name}/a.txt", [b"one ", b"two"])
      >>> read_regular(f"{folder.name}/a.txt")
      b'one two'
      >>> folder.cleanup()
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # a pipe would block
    try:
        number = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        link = os.path.islink(path)
        require(not link, f"{path}: it must be a regular file, got a link.")
        raise error
    with open(number, "rb") as file:
        status = os.fstat(number)
        regular = stat.S_ISREG(status.st_mode)
        require(regular, f"{path}: it must be a regular file, got a device or pipe.")
        require(
            status.st_size <= max_bytes,
            f"{path}: it must have at most {max_bytes} bytes, got {status.st_size}. "
            "Pass a larger `max_bytes` if you trust it.",
        )
        return file.read(status.st_size)


def write_whole(path: Path, pieces: Iterable[Piece]) -> None:
    """Writes a file. If the write fails, an older file of the same name remains.

    It writes to another name, flushes to the disk, renames, and flushes the folder.

    Example:
      >>> import tempfile
      >>> folder = tempfile.TemporaryDirectory()
      >>> write_whole(f"{folder.name}/a.txt", [b"one ", b"two"])
      >>> folder.cleanup()
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        write_new(temporary, pieces)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_new(path: Path, pieces: Iterable[Piece]) -> None:
    """Writes a file that does not exist yet, and flushes it to the disk."""
    with open(path, "xb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Flushes the names in a folder to the disk, after a file was made or renamed."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
