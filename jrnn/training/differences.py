"""Differences between two nested dictionaries of plain values, in sentences."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_ABSENT = object()
_SHOWN = 60  # characters of a value


def differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    words: str = "{name} was {old} and is now {new}",
) -> dict[str, str]:
    """Returns what differs between two nested dictionaries, with a sentence for each.

    Args:
      old: Plain values.
      new: Plain values.
      words: The sentence.

    Returns:
      Sentences by the path to the value.

    Example:
      >>> old = {"config": {"hidden_size": 256, "cell": "lstm"}}
      >>> new = {"config": {"hidden_size": 128, "cell": "lstm"}, "data": "3f"}
      >>> for sentence in differences(old, new).values():
      ...     print(sentence)
      config.hidden_size was 256 and is now 128
      data was absent and is now '3f'
    """
    before, after = _flat(old), _flat(new)
    return {
        path: words.format(
            name=path,
            old=_show(before.get(path, _ABSENT)),
            new=_show(after.get(path, _ABSENT)),
        )
        for path in dict.fromkeys([*before, *after])
        if not _equal(before.get(path, _ABSENT), after.get(path, _ABSENT))
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values at the end of all paths."""
    found: dict[str, Any] = {}
    for name, inner in value.items():
        path = f"{prefix}{name}"
        if isinstance(inner, Mapping) and inner:
            found |= _flat(inner, f"{path}.")
        else:
            found[path] = inner
    return found


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b  # True is not 1


def _show(value: Any) -> str:
    """Returns a value as text; a long one with a hash of all of it."""
    if value is _ABSENT:
        return "absent"
    text = repr(value)
    if len(text) <= _SHOWN:
        return text
    digest = hashlib.sha256(json.dumps(value).encode()).hexdigest()
    return f"{text[:_SHOWN]}... (sha256 {digest[:12]})"
