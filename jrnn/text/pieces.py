"""Reads a text file in pieces, for texts that do not fit in memory."""

import codecs
import os
from collections.abc import Callable, Iterator
from typing import Any

from jrnn import checks
from jrnn.storage import disk

BLOCK = 4 << 20  # bytes read at once
Progress = Callable[[float], Any]  # takes the fraction that is done


def read_pieces(
    path: disk.Path, progress: Progress | None = None, size: int = BLOCK
) -> Iterator[str]:
    r"""Yields a text file in UTF-8 in pieces, one of which is in memory at a time.

    A piece ends with a line end if there is one in `size` bytes, so no word is cut. A
    byte order mark at the start is not part of the text.

    Args:
      path: The file.
      progress: Called with the fraction that was read.
      size: Bytes per piece, at least 4.

    Raises:
      ValueError: if the file is not UTF-8. The message has the offset of the byte.
      OSError: if it cannot be read.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "text.txt"
      >>> _ = path.write_text("one\ntwo\nthree")
      >>> list(read_pieces(path, size=6))
      ['one\n', 'two\n', 'three']
    """
    size = checks.integer("size", size, 4)
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest, done = "", 0
    with open(path, "rb") as file:
        total = os.fstat(file.fileno()).st_size
        while block := file.read(size):
            if not done:
                block = block.removeprefix(codecs.BOM_UTF8)
                done = file.tell() - len(block)
            rest += _decode(decoder, block, done, path)
            done = file.tell()
            end = rest.rfind("\n") + 1
            if not end and len(rest) >= size:
                end = len(rest)
            if end:
                yield rest[:end]
                rest = rest[end:]
            if progress is not None:
                progress(min(1.0, done / max(total, 1)))
    rest += _decode(decoder, b"", done, path, final=True)
    if rest:
        yield rest


def _decode(
    decoder: Any, block: bytes, start: int, path: disk.Path, final: bool = False
) -> str:
    """Decodes a block that starts at an offset of the file."""
    pending = len(decoder.getstate()[0])
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        offset = start - pending + error.start
        raise ValueError(
            f"{os.fspath(path)} is not UTF-8: byte {error.object[error.start]:#04x} at "
            f"offset {offset} ({error.reason})."
        ) from None
