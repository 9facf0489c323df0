"""A vocabulary: the tokens that a model knows, and their ids."""

import collections
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jrnn import checks
from jrnn.text import units

UNK = "<unk>"  # stands for every token that is not in the vocabulary
EOS = "<eos>"  # marks the end of a sentence or a text
SHOWN_UNK = "\N{REPLACEMENT CHARACTER}"
_FORMAT = 1


@dataclasses.dataclass(frozen=True, repr=False)
class Vocabulary:
    r"""The tokens that a model knows, and their ids.

        id(specials[i]) = i,    id(tokens[i]) = i + len(specials)

    Special tokens are not part of any text: the characters `<eos>` in a text are five
    ordinary characters. With `<unk>`, a token that is not in the vocabulary has the id
    of `<unk>`; without, it is an error. Text whose tokens are all known is restored
    exactly by `decode(encode(text))`, whatever its characters are.

    Attributes:
      unit: What a token is: "characters", "bytes", "words" or "tokens", as in
        `jrnn.text.split`.
      tokens: The tokens, without specials; for bytes the integers 0 to 255.
      counts: How often each id occurs in the text that the vocabulary was built from:
        for `<unk>` also the tokens that were left out, for `<eos>` the number of texts
        if none has it.
      specials: Special tokens, with the lowest ids.

    Example:
      >>> from jrnn.text import Vocabulary
      >>> vocabulary = Vocabulary.build("the cat and the mouse", "words")
      >>> vocabulary.encode("the mouse and the dog", end=True).tolist()
      [6, 4, 2, 5, 0, 1]
      >>> vocabulary.decode([6, 3])
      'the cat'
      >>> Vocabulary.from_json(vocabulary.to_json()) == vocabulary
      True
    """

    unit: str
    tokens: tuple[Any, ...]
    counts: tuple[int, ...]
    specials: tuple[str, ...] = (UNK, EOS)

    def __post_init__(self) -> None:
        checks.one_of("unit", self.unit, units.UNITS)
        checks.refuse_one_string("specials", self.specials)
        each = f"Pass tuple({self.tokens!r}) for characters, or a tuple of the tokens."
        checks.refuse_one_string("tokens", self.tokens, each)
        checks.count("counts", self.counts, len(self), "one per id")
        for name in ("specials", "tokens"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                twice = collections.Counter(values).most_common(1)[0][0]
                raise ValueError(f"{name} must be distinct, but {twice!r} is repeated.")

    @classmethod
    def build(
        cls,
        texts: Any,
        unit: str = "characters",
        *,
        limit: int | None = None,
        min_count: int = 1,
        specials: Sequence[str] = (UNK, EOS),
    ) -> "Vocabulary":
        """Returns the vocabulary of a text: its tokens, sorted.

        Args:
          texts: A string, or several as an iterable, of which one at a time is in
            memory. With "tokens", an iterable of texts, each a sequence of strings; a
            token that equals a special token, as `<unk>` does in prepared corpora,
            means that special token.
          unit: What a token is, as in `jrnn.text.split`. "bytes" has all 256 bytes.
          limit: The number of tokens to keep, the most frequent ones; None for all.
          min_count: Rarer tokens are left out.
          specials: Special tokens; leave out `<unk>` to make unknown tokens an error.

        Raises:
          ValueError: if an option does not fit, or if no token is left.
          TypeError: if a text, or the special tokens, have another type.
        """
        checks.refuse_one_string("specials", specials)
        checks.integer("min_count", min_count, 1)
        if limit is not None:
            limit = checks.integer("limit", limit, 1)
        found, number = _count([texts] if isinstance(texts, str) else texts, unit)
        named = specials if unit == "tokens" else ()
        known = collections.Counter({each: found.pop(each, 0) for each in named})
        kept = [token for token, count in found.items() if count >= min_count]
        kept.sort(key=lambda token: (-found[token], token))
        kept = sorted(range(256) if unit == "bytes" else kept[:limit])
        if not kept:
            raise ValueError(
                f"texts have no token that occurs {min_count} times. Use a longer text "
                "or a lower min_count."
            )
        counts = {token: found[token] for token in kept}
        known[UNK] += sum(found.values()) - sum(counts.values())
        known[EOS] = known[EOS] or number
        special_counts = [known[special] for special in specials]
        return cls(
            unit,
            tuple(kept),
            (*special_counts, *counts.values()),
            tuple(specials),
        )

    def __len__(self) -> int:
        return len(self.specials) + len(self.tokens)

    def __repr__(self) -> str:
        return f"Vocabulary(<{len(self)} ids of {self.unit}, {self.sha256[:12]}>)"

    def id(self, token: Any) -> int:
        """Returns the id of a token or a special token.

        Raises:
          ValueError: if the token is not in the vocabulary and `<unk>` is not either.
        """
        if token in self.specials:
            return self.specials.index(token)
        found = self._ids.get(token)
        if found is None and UNK not in self.specials:
            raise ValueError(
                f"the token {token!r} is not in the vocabulary, which has no {UNK!r}."
            )
        return self.specials.index(UNK) if found is None else found

    def encode(self, text: Any, *, end: bool = False) -> np.ndarray:
        """Returns the ids of a text.

        Args:
          text: A string; with unit "tokens", a sequence of strings.
          end: Whether to append `<eos>`.

        Returns:
          int32 [tokens]. Pad several with `jrnn.sequences.pad`.

        Raises:
          ValueError: if a token is unknown, or `end` is asked for, and the vocabulary
            does not have the special token.
        """
        units.check_text(text, self.unit)
        if self.unit == "characters":
            ids = self._encode_characters(text)
        else:
            known, unknown = self._ids, -1
            pieces = units.split(text, self.unit)
            ids = np.array([known.get(piece, unknown) for piece in pieces], np.int32)
            if self.unit == "tokens":
                for number, special in enumerate(self.specials):
                    ids[[piece == special for piece in pieces]] = number
        missing = np.flatnonzero(ids < 0)
        if missing.size and UNK not in self.specials:
            token = units.split(text, self.unit)[missing[0]]
            raise ValueError(
                f"token {missing[0]} of the text, {token!r}, is not in the vocabulary, "
                f"which has no {UNK!r}. Build it from more text, or with specials="
                f"({UNK!r},)."
            )
        if missing.size:
            ids[missing] = self.specials.index(UNK)
        if not end:
            return ids
        if EOS not in self.specials:
            raise ValueError(f"end=True needs {EOS!r} among the specials.")
        return np.append(ids, np.int32(self.specials.index(EOS)))

    def decode(self, ids: Any) -> Any:
        """Returns the text of ids, without special tokens.

        `<unk>` becomes the replacement character, and other specials are left out. With
        unit "tokens", specials stay as they are.

        Args:
          ids: Integers [tokens].

        Returns:
          A string; with unit "tokens", a list of strings.

        Raises:
          ValueError: if an id is not in the vocabulary.
          TypeError: if the ids are not integers.
        """
        ids = np.asarray(ids)
        checks.ids("ids", ids if ids.size else ids.astype(np.int32), len(self))
        return units.join([t for i in ids.ravel() for t in self._shown[i]], self.unit)

    def unknown(self, text: Any) -> list[Any]:
        """Returns the distinct tokens of a text that the vocabulary does not have."""
        known = set(self._ids)
        if self.unit == "tokens":
            known |= set(self.specials)
        return sorted(set(units.split(text, self.unit)) - known)

    @functools.cached_property
    def sha256(self) -> str:
        """A hash of the whole vocabulary, which identifies it."""
        return hashlib.sha256(json.dumps(self._fields()).encode()).hexdigest()

    def to_json(self) -> str:
        """Returns the vocabulary as JSON, with its hash."""
        return json.dumps({**self._fields(), "sha256": self.sha256})

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """Reads what `to_json` writes.

        Raises:
          ValueError: if it is not such JSON, has a newer format, or was changed.
        """
        try:
            fields = json.loads(text)
            version, expected = fields.pop("format"), fields.pop("sha256", None)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"text is not JSON of a vocabulary: {error!r}.") from None
        if version != _FORMAT:
            raise ValueError(
                f"the vocabulary has format {version!r}, but this version of jrnn "
                f"reads format {_FORMAT}. Update jrnn."
            )
        found = hashlib.sha256(
            json.dumps({"format": version, **fields}).encode()
        ).hexdigest()
        if found != expected:
            raise ValueError(
                "the vocabulary was changed after it was written: its hash is "
                f"{found}, but it says {expected!r}."
            )
        lists = {name: tuple(v) for name, v in fields.items() if isinstance(v, list)}
        names = {field.name for field in dataclasses.fields(cls)}
        if set(fields) != names:
            raise ValueError(
                f"a vocabulary has the fields {sorted(names)}, got {sorted(fields)}."
            )
        return cls(**{**fields, **lists})

    def _fields(self) -> dict[str, Any]:
        return {"format": _FORMAT, **dataclasses.asdict(self)}

    @functools.cached_property
    def _ids(self) -> dict[Any, int]:
        return {t: i for i, t in enumerate(self.tokens, len(self.specials))}

    @functools.cached_property
    def _shown(self) -> list[tuple[Any, ...]]:
        """What each id decodes to, as a tuple of no or several tokens."""
        if self.unit == "tokens":
            shown = [(special,) for special in self.specials]
        else:
            unknown = units.split(SHOWN_UNK, self.unit)
            shown = [tuple(unknown) if s == UNK else () for s in self.specials]
        return shown + [(token,) for token in self.tokens]

    def _encode_characters(self, text: str) -> np.ndarray:
        """Looks up all characters at once; -1 where there is none."""
        points = units.code_points(text)
        return self._by_point[np.minimum(points, self._by_point.size - 1)]

    @functools.cached_property
    def _by_point(self) -> np.ndarray:
        """The id of every code point, up to one past the largest that is known."""
        points = units.code_points("".join(self.tokens))
        ids = np.full(int(points.max()) + 2, -1, np.int32)
        ids[points] = np.arange(points.size) + len(self.specials)
        return ids


def _count(texts: Iterable[Any], unit: str) -> tuple[collections.Counter[Any], int]:
    """Returns how often each token occurs, and the number of texts."""
    found: collections.Counter[Any] = collections.Counter()
    number = 0
    for text in texts:
        number += 1
        units.check_text(text, unit)
        if unit == "characters":  # a long text in C
            counts = np.bincount(units.code_points(text))
            found.update({chr(n): int(counts[n]) for n in np.flatnonzero(counts)})
        else:
            found.update(units.split(text, unit))
    return found, number
