"""Text as numbers: where it comes from, its symbols, and how it is split."""

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
HELD_OUT_SHARE = 10  # one character in ten, the last ones
MAX_SYMBOLS = 8192  # rarer characters are <unk>: the last layer grows with them
_WIDE = "utf-32-le"  # four bytes for every character


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The symbols of a model: `<unk>`, and one for each character seen in training.

    The symbol 0 is `<unk>`: it stands for every other character. Such characters are
    read as `<unk>` and count as `<unk>` when a guess is scored. As training holds none
    (or only rare ones), the model learns that `<unk>` is unlikely and pays for each.

    Attributes:
      characters: Distinct characters in the order of their code points; the symbol of
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
        """Tells two vocabularies apart."""
        return hashlib.sha256(_points(self.characters).tobytes()).hexdigest()


class Corpus(NamedTuple):
    """A text in two parts."""

    name: str
    sha256: str  # of the text in UTF-8
    vocabulary: Vocabulary
    train: np.ndarray  # int32 [characters]
    held_out: np.ndarray  # int32 [characters]

    @property
    def facts(self) -> dict[str, str | int]:
        """What identifies the corpus."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "train": len(self.train),
            "held_out": len(self.held_out),
            "symbols": len(self.vocabulary),
        }


def read_text(path: Path | None) -> tuple[str, str]:
    """Returns the name and the content of a text; None is Python's own manual.

    Raises:
      UserError: if the file cannot be read, or is not UTF-8.
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
            f"{error.start} ({error.reason}). Convert it first, as with "
            "`iconv -f LATIN1 -t UTF-8`."
        ) from None


def split(name: str, text: str, batch_size: int, chunk: int) -> Corpus:
    """Splits a text into a part to learn from and a held-out part, its last tenth.

    Raises:
      UserError: if the first part does not fill one batch of chunks.
    """
    border = len(text) - max(len(text) // HELD_OUT_SHARE, 1)
    needed = batch_size * chunk + 1
    if border < needed:
        raise UserError(
            f"{name} is too short: {len(text)} characters, {max(border, 0)} of them to "
            f"train on, but one batch needs {needed} ({batch_size} places times a "
            f"chunk of {chunk}, and one). Take a longer text, or lower --batch-size "
            "or --chunk."
        )
    vocabulary = find_vocabulary(text[:border])
    symbols = vocabulary.encode(text)
    sha256 = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return Corpus(name, sha256, vocabulary, symbols[:border], symbols[border:])


def find_vocabulary(text: str, limit: int = MAX_SYMBOLS) -> Vocabulary:
    """Returns the vocabulary of a text: the characters seen most often, up to a limit.

    Example:
      >>> find_vocabulary("abracadabra", limit=3).characters
      'abr'
    """
    points, counts = np.unique(_points(text), return_counts=True)
    often = np.argsort(-counts, kind="stable")[:limit]
    return Vocabulary(_text(np.sort(points[often])))


def _points(text: str) -> np.ndarray:
    # A command line may hold lone surrogates, which no vocabulary does.
    return np.frombuffer(text.encode(_WIDE, "surrogatepass"), "<u4")


def _text(points: np.ndarray) -> str:
    return points.astype("<u4").tobytes().decode(_WIDE, "surrogatepass")
