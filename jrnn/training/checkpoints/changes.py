"""Differences between a checkpoint and the run that resumes it."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from jrnn.training.checkpoints.manifest import CheckpointError

_ABSENT = object()
_SHOWN = 60  # characters of a value


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Returns what differs between two nested dictionaries, with a sentence for each.

    Args:
      old: Plain values.
      new: Plain values.

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
        path: f"{path} was {_show(before.get(path, _ABSENT))} and is now "
        f"{_show(after.get(path, _ABSENT))}"
        for path in dict.fromkeys([*before, *after])
        if not _equal(before.get(path, _ABSENT), after.get(path, _ABSENT))
    }


def refuse_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], may_change: Collection[str]
) -> list[str]:
    """Returns notes about changes that are allowed.

    Args:
      old: The facts of the checkpoint.
      new: The facts of the run.
      may_change: Paths to values that may change, or to dictionaries of them.

    Raises:
      CheckpointError: If anything else differs. The message lists all of it.
    """
    found = differences(old, new)
    allowed = {path for path in found if _below(path, may_change)}
    refused = [found[path] for path in found if path not in allowed]
    if refused:
        listed = ", ".join(sorted(may_change)) or "nothing"
        raise CheckpointError(
            f"the run cannot be resumed, because it changed: {'; '.join(refused)}. "
            f"Undo the changes or start a new run. What may change: {listed}."
        )
    return [
        f"{found[path]}: results may differ from the original run" for path in found
    ]


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


def _below(path: str, roots: Collection[str]) -> bool:
    return any(path == root or path.startswith(f"{root}.") for root in roots)


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
