"""Reads and writes whole files."""

import os
import pathlib
import secrets
import stat
import threading
from collections.abc import Iterable

from jrnn.storage.formats import Piece, require

Path = str | os.PathLike[str]

MAX_BYTES = 8 << 30
_POSITION = threading.Lock()


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
    flags = getattr(os, "O_NONBLOCK", 0)  # a pipe would block
    try:
        number = open_bytes(path, flags | getattr(os, "O_NOFOLLOW", 0))
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


def open_bytes(path: Path, flags: int = 0) -> int:
    """Opens a file to read its bytes by position. Returns the number of the file."""
    return os.open(path, os.O_RDONLY | flags | getattr(os, "O_BINARY", 0))


def read_at(number: int, offset: int, size: int) -> bytes:
    """Reads at most `size` bytes of an open file at a position.

    Several threads may call it. Without `os.pread`, as on Windows, one moves the
    position of the file at a time.

    Args:
      number: That of the open file.
      offset: Where to begin.
      size: The largest number of bytes.

    Returns:
      The bytes, fewer at the end of the file.

    Example:
      >>> with open(__file__, "rb") as file:
      ...     read_at(file.fileno(), 3, 9)
      b'Reads and'
    """
    if hasattr(os, "pread"):
        return os.pread(number, size, offset)
    with _POSITION:
        os.lseek(number, offset, os.SEEK_SET)
        return os.read(number, size)


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
    """Flushes the names in a folder to the disk, after a file was made or renamed.

    Windows cannot open a folder. There the file system writes names by itself, in the
    order in which they were made.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
