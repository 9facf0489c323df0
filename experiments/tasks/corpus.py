"""Texts to train language models on."""

import codecs
import hashlib
import sys
from pathlib import Path
from pydoc_data import topics
from typing import NamedTuple

from experiments.errors import UserError

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
        return str(path), data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
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
    border = max(0, len(text) - max(len(text) // HELD_OUT_PART, 1))
    sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Corpus(name, sha256, text[:border], text[border:])


def _convert(encoding: str) -> str:
    return f"Convert it first, for example with `iconv -f {encoding} -t UTF-8`."
