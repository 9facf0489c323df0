"""The text, its vocabulary and its split."""

import dataclasses
import hashlib
import sys
from pathlib import Path
from pydoc_data import topics
from typing import NamedTuple

import numpy as np

from experiments.errors import UserError

UNKNOWN = "<unk>"
UNKNOWN_ID = 0
SHOWN_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
HELD_OUT_PART = 10  # one tenth, at the end of the text
MAX_SYMBOLS = 8192  # rarer characters become <unk>, which limits the output layer
_WIDE = "utf-32-le"  # four bytes for every character


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The symbols of a model: `<unk>`, and one for each character of the training text.

    Symbol 0 is `<unk>`. It represents all other characters, as input and as target. It
    is rare or absent in the training text, so the model learns that it is unlikely, and
    each `<unk>` in the held-out text has a high loss.

    Attributes:
      characters: Distinct characters, sorted by code point. The symbol of
        `characters[i]` is i + 1.

    Example:
      >>> vocabulary = Vocabulary("ab")
      >>> vocabulary.encode("bat").tolist()
      [2, 1, 0]
      >>> vocabulary.decode([2, 1])
      'ba'
    """

    characters: str

    def __len__(self) -> int:
        return len(self.characters) + 1

    def encode(self, text: str) -> np.ndarray:
        """Returns the symbols of a text, int32 [characters]."""
        known, points = _points(self.characters), _points(text)
        if not known.size:
            return np.zeros(points.shape, np.int32)
        index = np.minimum(np.searchsorted(known, points), known.size - 1)
        found = known[index] == points
        return np.where(found, index + 1, UNKNOWN_ID).astype(np.int32)

    def decode(self, symbols: np.ndarray | list[int]) -> str:
        """Returns the text of symbols; `<unk>` becomes the replacement character."""
        table = np.append(ord(SHOWN_UNKNOWN), _points(self.characters))
        return _text(table[np.asarray(symbols, np.int64)])

    def unknown(self, text: str) -> str:
        """Returns the distinct characters of a text that are read as `<unk>`."""
        return "".join(sorted(set(text) - set(self.characters)))

    @property
    def sha256(self) -> str:
        """A hash that identifies the vocabulary."""
        return hashlib.sha256(_points(self.characters).tobytes()).hexdigest()


class Corpus(NamedTuple):
    """A text, split into training and held-out symbols."""

    name: str
    sha256: str  # hash of the text in UTF-8
    vocabulary: Vocabulary
    train: np.ndarray  # int32 [characters]
    held_out: np.ndarray  # int32 [characters]

    @property
    def facts(self) -> dict[str, str | int]:
        """Values that identify the corpus."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "train": len(self.train),
            "held_out": len(self.held_out),
            "symbols": len(self.vocabulary),
        }


def read_text(path: Path | None) -> tuple[str, str]:
    """Returns the name and the content of a text; None for the Python reference.

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
    try:
        return str(path), data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8: byte {data[error.start]:#04x} at offset "
            f"{error.start} ({error.reason}). Convert it first, for example with "
            "`iconv -f LATIN1 -t UTF-8`."
        ) from None


def split(name: str, text: str, batch_size: int, chunk: int) -> Corpus:
    """Splits a text into training text and held-out text, its last tenth.

    Raises:
      UserError: If the training text does not fill one batch of chunks.
    """
    border = len(text) - max(len(text) // HELD_OUT_PART, 1)
    needed = batch_size * chunk + 1
    if border < needed:
        raise UserError(
            f"{name} is too short: {len(text)} characters, {max(border, 0)} of them to "
            f"train on, but one batch needs {needed} ({batch_size} rows times a "
            f"chunk of {chunk}, plus one). Use a longer text, or lower --batch-size "
            "or --chunk."
        )
    vocabulary = find_vocabulary(text[:border])
    symbols = vocabulary.encode(text)
    sha256 = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return Corpus(name, sha256, vocabulary, symbols[:border], symbols[border:])


def find_vocabulary(text: str, limit: int = MAX_SYMBOLS) -> Vocabulary:
    """Returns the vocabulary of a text: its most frequent characters.

    Example:
      >>> find_vocabulary("abracadabra", limit=3).characters
      'abr'
    """
    points, counts = np.unique(_points(text), return_counts=True)
    often = np.argsort(-counts, kind="stable")[:limit]
    return Vocabulary(_text(np.sort(points[often])))


def _points(text: str) -> np.ndarray:
    # A command line may contain lone surrogates.
    return np.frombuffer(text.encode(_WIDE, "surrogatepass"), "<u4")


def _text(points: np.ndarray) -> str:
    return points.astype("<u4").tobytes().decode(_WIDE, "surrogatepass")
