"""How a text splits into tokens, and how tokens join to a text again."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from jrnn import checks

UNITS = ("characters", "bytes", "words", "tokens")
_WIDE = "utf-32-le"  # four bytes for every character
# A word keeps the space before it, so that joining needs no rule for spaces.
_WORD = re.compile(r" ?\w+(?:['\u2019]\w+)*| ?[^\w\s]|\s")


def split(text: Any, unit: str) -> list[Any]:
    r"""Splits a text into tokens; `join` restores it exactly.

    Args:
      text: A string; with "tokens", a sequence of strings.
      unit: "characters"; "bytes" of UTF-8, as integers; "words": words, punctuation
        marks and whitespace characters, where a word or mark keeps a space before it;
        or "tokens" for a text that is split already.

    Raises:
      ValueError: if there is no such unit.
      TypeError: if the text has another type.

    Example:
      >>> from jrnn.text import split
      >>> split("Don't stop, Rex!\n", "words")
      ["Don't", ' stop', ',', ' Rex', '!', '\n']
      >>> split("né", "bytes")
      [110, 195, 169]
    """
    check_text(text, unit)
    if unit == "characters":
        return list(text)
    if unit == "bytes":
        return list(text.encode("utf-8", "surrogatepass"))
    return _WORD.findall(text) if unit == "words" else list(text)


def join(tokens: Sequence[Any], unit: str) -> Any:
    """Joins the tokens that `split` returns.

    Bytes that are not UTF-8, as a model may sample them, become replacement characters.

    Args:
      tokens: Tokens of one unit.
      unit: As in `split`.

    Returns:
      A string; with "tokens", a list of strings.

    Raises:
      ValueError: if there is no such unit.

    Example:
      >>> from jrnn.text import join
      >>> join([110, 195, 169], "bytes")
      'né'
    """
    checks.one_of("unit", unit, UNITS)
    if unit == "tokens":
        return list(tokens)
    if unit != "bytes":
        return "".join(tokens)
    data = bytes(tokens)
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def check_text(text: Any, unit: str) -> None:
    """Raises unless a text has the type that its unit needs."""
    checks.one_of("unit", unit, UNITS)
    if unit != "tokens":
        if not isinstance(text, str):
            raise TypeError(f"text must be a string, got {type(text).__name__}.")
    elif (
        isinstance(text, str | bytes)
        or not hasattr(text, "__len__")  # to look into an iterator would empty it
        or not all(isinstance(t, str) for t in text)
    ):
        raise TypeError(
            "text must be a sequence of strings with unit='tokens', got "
            f"{text if isinstance(text, str | bytes) else type(text).__name__!r}. Use "
            "unit='words' for a text that is not split, and `list(text)` for an "
            "iterator."
        )


def code_points(text: str) -> np.ndarray:
    """Returns the code points of a string, uint32; lone surrogates are allowed."""
    return np.frombuffer(text.encode(_WIDE, "surrogatepass"), "<u4")


def from_code_points(points: np.ndarray) -> str:
    """Returns the string of code points."""
    return points.astype("<u4").tobytes().decode(_WIDE, "surrogatepass")
