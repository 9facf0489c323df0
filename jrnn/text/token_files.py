"""Files of tokens, for texts that do not fit in memory.

A token file is a `.safetensors` file, which other programs can read: the array "tokens"
of ids, their hash in the array "sha256" behind it, and the vocabulary as metadata.
"""

import hashlib
import os
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from jrnn import checks
from jrnn.storage import disk, safetensors
from jrnn.storage.arrays import errors_name
from jrnn.storage.closing import Closing
from jrnn.storage.formats import CODES, METADATA, FileError, require
from jrnn.text.pieces import BLOCK, Progress
from jrnn.text.vocabulary import Vocabulary

_TOKENS, _HASH, _VOCABULARY = "tokens", "sha256", "jrnn.vocabulary"


def write_tokens(
    path: disk.Path, pieces: Iterable[Any], vocabulary: Vocabulary, count: int
) -> None:
    """Writes the ids of a text to a token file, piece by piece.

    The file appears under its name only when it is complete and on disk.

    Args:
      path: The file to write.
      pieces: A text in pieces, as from `read_pieces`, which are encoded one by one; or
        a string.
      vocabulary: The vocabulary that encodes them.
      count: The number of tokens of the text: `sum(vocabulary.counts)` if the
        vocabulary was built from the same text and has no `<eos>`.

    Raises:
      ValueError: if the text has another number of tokens, or an unknown token.

    Example:
      >>> import tempfile
      >>> from jrnn.text import TokenFile, UNK, Vocabulary, write_tokens
      >>> vocabulary = Vocabulary.build("to be or not to be", specials=(UNK,))
      >>> path = tempfile.mkdtemp() + "/text.tokens"
      >>> write_tokens(path, ["to be or ", "not to be"], vocabulary, 18)
      >>> with TokenFile(path) as tokens:
      ...     len(tokens), tokens.vocabulary.decode(tokens[13:18])
      (18, 'to be')
    """
    count = checks.integer("count", count, 0)
    dtype = np.min_scalar_type(len(vocabulary) - 1).newbyteorder("<")
    end = count * dtype.itemsize
    offsets = {_TOKENS: [0, end], _HASH: [end, end + 32]}
    header = safetensors.encode_header(
        {
            METADATA: {_VOCABULARY: vocabulary.to_json()},
            _TOKENS: _described(dtype, [count], offsets[_TOKENS]),
            _HASH: _described(np.dtype("uint8"), [32], offsets[_HASH]),
        }
    )

    def content() -> Iterator[bytes]:
        sha, seen = hashlib.sha256(header), 0
        yield header
        for piece in [pieces] if isinstance(pieces, str) else pieces:
            ids = vocabulary.encode(piece)
            seen += len(ids)
            data = ids.astype(dtype).tobytes()
            sha.update(data)
            yield data
        if seen != count:
            raise ValueError(f"the text has {seen} tokens, but count is {count}.")
        yield sha.digest()

    disk.write_whole(path, content())


class TokenFile(Closing):
    """A token file, read from the disk on demand.

    It is a sequence of ids: `len(file)` and `file[begin:end]`. Nothing stays in memory.
    The file is not memory-mapped: mapped pages count as memory of the process, and a
    mapped file that is truncated kills the process. Here a truncated file raises an
    error that names it.

    Attributes:
      path: The file.
      vocabulary: The vocabulary of the ids.
      sha256: A hash of the tokens and the vocabulary, which identifies both. `verify`
        compares it with the content.

    Example:
      >>> import tempfile
      >>> from jrnn.text import TokenFile, UNK, Vocabulary, write_tokens
      >>> vocabulary = Vocabulary.build("to be or not to be", specials=(UNK,))
      >>> path = tempfile.mkdtemp() + "/text.tokens"
      >>> write_tokens(path, ["to be or ", "not to be"], vocabulary, count=18)
      >>> with TokenFile(path) as tokens:
      ...     tokens.verify()
      ...     windows = tokens.windows([0, 13], size=5)
      >>> windows.shape, [vocabulary.decode(window) for window in windows]
      ((2, 5), ['to be', 'to be'])
    """

    def __init__(self, path: disk.Path) -> None:
        """Opens a token file and reads its header.

        Raises:
          FileError: if it is not a token file, or its size does not match its header.
          OSError: if it cannot be opened.
        """
        self.path = os.fspath(path)
        self._number = disk.open_bytes(path)
        self._close = weakref.finalize(self, os.close, self._number)
        with errors_name(self.path):
            self._open()

    def _open(self) -> None:
        total = os.fstat(self._number).st_size
        size = safetensors.header_size(self._at(0, min(8, total)), total)
        header = self._at(0, 8 + size)
        entries, metadata, self._start = safetensors.parse_header(header, total)
        require(
            [entry.name for entry in entries] == [_TOKENS, _HASH]
            and len(entries[0].shape) == 1
            and entries[0].dtype.kind == "u"
            and entries[1].end - entries[1].begin == 32
            and set(metadata) == {_VOCABULARY},
            "it is not a token file. Write one with `jrnn.text.write_tokens`.",
        )
        tokens, hashed = entries
        self._dtype, self._count = tokens.dtype, tokens.shape[0]
        bytes_ = tokens.end - tokens.begin
        needed = self._count * self._dtype.itemsize
        require(bytes_ == needed, f"tokens must have {needed} bytes, got {bytes_}.")
        self.vocabulary = Vocabulary.from_json(metadata[_VOCABULARY])
        self.sha256 = self._at(self._start + hashed.begin, 32).hex()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> np.ndarray:
        """Reads the ids of a slice without a step, int32.

        Raises:
          FileError: if the file was truncated, or has an id out of range.
          OSError: if it cannot be read.
          ValueError: if it is closed.
        """
        if not isinstance(part, slice):
            raise TypeError(
                f"tokens must be read as tokens[begin:end], got the index {part!r}."
            )
        begin, end, step = part.indices(self._count)
        if step != 1:
            raise ValueError(f"a slice of tokens must have step 1, got {step}.")
        width = self._dtype.itemsize
        data = self._at(self._start + begin * width, max(0, end - begin) * width)
        ids = np.frombuffer(data, self._dtype)
        if ids.size and ids.max() >= len(self.vocabulary):
            raise FileError(
                f"{self.path}: token {begin + int(ids.argmax())} is {ids.max()}, but "
                f"its vocabulary has {len(self.vocabulary)} ids. The file is damaged: "
                "write it again."
            )
        return ids.astype(np.int32)

    def windows(self, starts: Any, size: int, end: int | None = None) -> np.ndarray:
        """Reads several windows of the text, each from its own position.

            windows[..., i] = tokens[(starts[...] + i) mod end]

        Args:
          starts: Integers of any shape; positions past the end wrap around.
          size: Tokens per window.
          end: The position where windows wrap around to the start; None for the end of
            the file.

        Returns:
          int32 [*starts.shape, size].

        Raises:
          ValueError: if there is no token, or `end` is larger than the number of
            tokens.
          TypeError: if the starts are not integers.
        """
        size = checks.integer("size", size, 0)
        end = checks.integer("end", len(self) if end is None else end, 1)
        if end > len(self):
            raise ValueError(
                f"end must be at most the number of tokens, {len(self)}, got {end}."
            )
        starts = np.asarray(starts)
        if starts.size and starts.dtype.kind not in "iu":
            raise TypeError(f"starts must be integers, got {starts.dtype}.")
        rows = [self._window(int(start) % end, size, end) for start in starts.ravel()]
        return np.reshape(rows, (*starts.shape, size)).astype(np.int32)

    def verify(self, progress: Progress | None = None) -> None:
        """Reads the whole file and compares it with its hash.

        Args:
          progress: Called with the fraction that is done.

        Raises:
          FileError: if it was changed after it was written.
        """
        end = self._start + self._count * self._dtype.itemsize
        sha = hashlib.sha256()
        for begin in range(0, end, BLOCK):
            sha.update(self._at(begin, min(BLOCK, end - begin)))
            if progress is not None:
                progress(min(1.0, (begin + BLOCK) / end))
        if sha.hexdigest() != self.sha256:
            raise FileError(
                f"{self.path}: its content does not match its hash, so it is damaged. "
                "Write it again."
            )

    def close(self) -> None:
        """Closes the file. This also happens when the object is garbage-collected."""
        self._close()

    def _window(self, start: int, size: int, end: int) -> np.ndarray:
        parts, start = [self[start : min(start + size, end)]], start
        while (lacking := size - sum(map(len, parts))) > 0:
            parts.append(self[: min(lacking, end)])
        return np.concatenate(parts)

    def _at(self, offset: int, size: int) -> bytes:
        """Reads bytes at a position."""
        if not self._close.alive:  # another file may have its number now
            raise ValueError(f"{self.path} is closed. Open it again.")
        pieces = []
        while size and (piece := disk.read_at(self._number, offset, size)):
            pieces.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        if size:
            raise FileError(
                f"{self.path}: {size} bytes are missing at byte {offset}, so it was "
                "truncated. Write it again."
            )
        return b"".join(pieces)


def _described(dtype: np.dtype, shape: list[int], offsets: list[int]) -> dict[str, Any]:
    code = CODES[dtype.newbyteorder("=")]
    return {"dtype": code, "shape": shape, "data_offsets": offsets}
