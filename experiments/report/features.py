"""Properties of the tokens of a text, which units may track."""

from collections.abc import Callable, Sequence

import numpy as np

from jrnn.text import EOS

OPENING, CLOSING = "([{", ")]}"


def features(tokens: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns properties of every token that differ within the text, each [T].

    A token is a character or a word, and `<eos>` is a line end. A blank line closes
    quotes and brackets.

    Example:
      >>> found = features([*"a (b)"])
      >>> found["inside brackets"].tolist(), found["position in word"].tolist()
      ([0.0, 0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0, 0.0])
    """
    tokens = ["\n" if token == EOS else token for token in tokens]
    found = {name: np.array([f(t) for t in tokens], float) for name, f in OWN.items()}
    found |= _places(tokens)
    return {name: values for name, values in found.items() if np.ptp(values) > 0}


def _is(test: Callable[[str], bool]) -> Callable[[str], bool]:
    """Returns a test of the first character that is not a space."""
    return lambda token: test((token.strip() or token)[:1])


OWN: dict[str, Callable[[str], bool]] = {
    "space": lambda token: token == " ",
    "line end": lambda token: token == "\n",
    "upper case": _is(str.isupper),
    "digit": _is(str.isdigit),
    "vowel": _is(lambda c: c.lower() in "aeiou" and c != ""),
    "punctuation": _is(lambda c: c.isprintable() and not c.isalnum() and c != " "),
}


def _places(tokens: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns properties that depend on the tokens before."""
    names = ["position in line", "position in word", "inside quotes"]
    names += ["inside brackets", "indentation"]
    rows = np.zeros((len(tokens), len(names)))
    line = word = depth = indent = 0
    quoted, before = False, ""
    for n, token in enumerate(tokens):
        mark = token.strip()
        if token == "\n":
            line = indent = 0
            if before == "\n":
                quoted, depth = False, 0
        else:
            line += 1
            if token == " " and indent == line - 1:
                indent += 1
        word = word + 1 if mark.isalnum() else 0
        if mark == '"':
            quoted = not quoted
        depth = max(0, depth + (mark in OPENING if mark else 0))
        depth = max(0, depth - (mark in CLOSING if mark else 0))
        rows[n] = line, word, quoted, depth, indent
        before = token
    return dict(zip(names, rows.T, strict=True))
