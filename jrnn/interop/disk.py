"""Whole files, in and out: nothing irregular is read, nothing half is left behind."""

import os
import pathlib
import secrets
import stat

from jrnn.interop.formats import require

Path = str | os.PathLike[str]

MAX_BYTES = 8 << 30


def read_regular(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Returns the content of a regular file: no link, device or pipe, and no giant."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # a pipe would block
    try:
        number = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        require(not os.path.islink(path), f"{path}: it is a link, no regular file.")
        raise error
    with open(number, "rb") as file:
        status = os.fstat(number)
        require(stat.S_ISREG(status.st_mode), f"{path}: it is no regular file.")
        require(
            status.st_size <= max_bytes,
            f"{path}: it has {status.st_size} bytes; {max_bytes} are allowed.",
        )
        return file.read(status.st_size)


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file such that its name never stands for half of it.

    Written under another name, sent to the disk, renamed, and the folder sent too.
    """
    path = pathlib.Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
