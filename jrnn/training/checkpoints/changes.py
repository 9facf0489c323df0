"""Checks which changes are allowed when a run is resumed."""

from collections.abc import Collection, Mapping
from typing import Any

from jrnn.training.checkpoints.manifest import CheckpointError
from jrnn.training.differences import Path, differences


def refuse_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], may_change: Collection[str]
) -> list[str]:
    """Returns notes about changes that are allowed.

    Args:
      old: The facts of the checkpoint.
      new: The facts of the run.
      may_change: Paths to values that may change, or to dictionaries of them, with dots
        between names.

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
            f"Undo the changes or start a new run. Allowed changes: {listed}."
        )
    return [
        f"{found[path]}: results may differ from the original run" for path in found
    ]


def _below(path: Path, roots: Collection[str]) -> bool:
    return any(".".join(path[: i + 1]) in roots for i in range(len(path)))
