"""Differences between two nested dictionaries of plain values, in sentences."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

Path = tuple[str, ...]  # names of nested dictionaries, from the outside

_ABSENT = object()
_SHOWN = 60  # characters of a value


def differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    words: str = "{name} was {old} and is now {new}",
) -> dict[Path, str]:
    """Returns what differs between two nested dictionaries, with a sentence for each.

    Args:
      old: Plain values.
      new: Plain values.
      words: The sentence.

    Returns:
      Sentences by the path to the value. A sentence quotes a name that contains a dot
      if its path could be another one.

    Example:
      >>> old = {"config": {"hidden_size": 256, "cell": "lstm"}}
      >>> new = {"config": {"hidden_size": 128, "cell": "lstm"}, "data": "3f"}
      >>> for sentence in differences(old, new).values():
      ...     print(sentence)
      config.hidden_size was 256 and is now 128
      data was absent and is now '3f'
      >>> differences({"a": {"b": 1}}, {"a.b": 1})[("a.b",)]
      '"a.b" was absent and is now 1'
    """
    before, after = _flat(old), _flat(new)
    return {
        path: words.format(
            name=name,
            old=_show(before.get(path, _ABSENT)),
            new=_show(after.get(path, _ABSENT)),
        )
        for path, name in _names([*before, *after]).items()
        if not _equal(before.get(path, _ABSENT), after.get(path, _ABSENT))
    }


def _flat(value: Mapping[str, Any], path: Path = ()) -> dict[Path, Any]:
    """Returns the values at the end of all paths."""
    found: dict[Path, Any] = {}
    for name, inner in value.items():
        below = (*path, str(name))
        if isinstance(inner, Mapping) and inner:
            found |= _flat(inner, below)
        else:
            found[below] = inner
    return found


def _names(paths: Iterable[Path]) -> dict[Path, str]:
    """Returns paths with dots; with quotes too if two paths were the same text."""
    names = {path: ".".join(path) for path in paths}
    if len(set(names.values())) < len(names):
        return {path: ".".join(map(_quoted, path)) for path in names}
    return names


def _quoted(part: str) -> str:
    return json.dumps(part) if "." in part or '"' in part else part


def _equal(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False  # True is not 1
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b or (a != a and b != b)  # NaN is what it was


def _show(value: Any) -> str:
    """Returns a value as text; a long one with a hash of all of it."""
    if value is _ABSENT:
        return "absent"
    text = repr(value)
    if len(text) <= _SHOWN:
        return text
    digest = hashlib.sha256(json.dumps(value).encode()).hexdigest()
    return f"{text[:_SHOWN]}... (sha256 {digest[:12]})"
