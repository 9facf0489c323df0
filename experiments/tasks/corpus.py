"""Texts to train language models on."""

import codecs
import hashlib
import sys
from pathlib import Path
from pydoc_data import topics
from typing import Any, NamedTuple

import numpy as np

from experiments.errors import UserError
from experiments.run import terminal
from experiments.run.task import Stream
from experiments.tasks import parts
from jrnn.text import TokenFile

TOKENS = ".tokens"  # suffix of a text that `python -m experiments tokens` prepared

HELD_OUT_PART = 10  # one tenth, at the end of the text
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32LE",
    codecs.BOM_UTF32_BE: "UTF-32BE",
    codecs.BOM_UTF16_LE: "UTF-16LE",
    codecs.BOM_UTF16_BE: "UTF-16BE",
}


class Corpus(NamedTuple):
    """A text, split into training text and held-out text."""

    name: str
    sha256: str  # hash of the text in UTF-8
    train: str
    held_out: str

    @property
    def facts(self) -> dict[str, str | int]:
        """Values that identify the corpus."""
        return {
            "sha256": self.sha256,
            "train": len(self.train),
            "held_out": len(self.held_out),
        }


def read_text(path: Path | None) -> tuple[str, str]:
    """Returns the name and the content of a text; None for the Python reference.

    A byte order mark at the start is not part of the text.

    Raises:
      UserError: If the file cannot be read, or is not UTF-8.
    """
    if path is None:
        text = "\n\n".join(topics.topics[name] for name in sorted(topics.topics))
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"the Python {version} language reference (pydoc_data.topics)", text
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}.") from None
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            raise UserError(f"{path} is {encoding}, not UTF-8. {_convert(encoding)}")
    try:
        return str(path), data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8: byte {data[error.start]:#04x} at offset "
            f"{error.start} ({error.reason}). {_convert('LATIN1')}"
        ) from None


def split(name: str, text: str) -> Corpus:
    """Splits a text into training text and held-out text, its last tenth.

    Example:
      >>> split("it", "x" * 72).held_out
      'xxxxxxx'
    """
    end = border(len(text))
    sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Corpus(name, sha256, text[:end], text[end:])


class TokenCorpus(Stream):
    """The training text of a token file, all but its last tenth.

    Row b starts at position b/B of the text, and continues at the beginning when it
    reaches the end, as in `parts.stream`.

    Attributes:
      file: The token file.
      size: The number of tokens to train on.
    """

    def __init__(self, path: Path, unit: str) -> None:
        """Opens a token file and compares it with its hash.

        Raises:
          UserError: If it cannot be read, is damaged, or has tokens of another unit.
        """
        try:
            self.file = TokenFile(path)
            with terminal.waiting(f"checking {path}") as progress:
                self.file.verify(progress)
        except (OSError, ValueError) as error:
            raise UserError(_reason(path, error)) from None
        if self.file.vocabulary.unit != unit:
            raise UserError(
                f"{path} has tokens of unit {self.file.vocabulary.unit!r}, but this "
                f"task needs {unit!r}."
            )
        self.size = border(len(self.file))

    def batches(self, options: Any, first: int, number: int) -> Any:
        """Returns inputs and targets [number, rows, chunk], and rows that begin anew.

        As `LanguageModel.batch` of each step.
        """
        rows = np.arange(options.batch_size) * self.size // options.batch_size
        steps = first + np.arange(number)
        starts = rows + steps[:, None] * options.chunk
        try:
            read = self.file.windows(starts, options.chunk + 1, self.size)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{_reason(self.file.path, error)} Training stopped at step {first}. "
                "Checkpoints are intact: restore the file and continue with --resume."
            ) from None
        fresh = parts.fresh(steps[:, None], np.arange(options.batch_size))
        return read[..., :-1], read[..., 1:], fresh

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> np.ndarray:
        """Reads a slice of the training text."""
        begin, end, _ = part.indices(self.size)
        return self.file[begin:end]

    def held_out(self, size: int) -> np.ndarray:
        """Reads the first tokens of the held-out text."""
        return self.file[self.size : self.size + size]

    @property
    def facts(self) -> dict[str, str | int]:
        """Values that identify the corpus."""
        return {
            "sha256": self.file.sha256,
            "train": self.size,
            "held_out": len(self.file) - self.size,
        }


def border(size: int) -> int:
    """Returns where the held-out text starts in a text of this size."""
    return max(0, size - max(size // HELD_OUT_PART, 1))


def _reason(path: Any, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot read {path}: {error.strerror or error}."
    return str(error)


def _convert(encoding: str) -> str:
    return f"Convert it first, for example with `iconv -f {encoding} -t UTF-8`."
