"""Reads checkpoints without a lock, for programs that do not train."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jrnn.storage import trees
from jrnn.storage.disk import MAX_BYTES
from jrnn.training.checkpoints import files, folder as folders, leaves, shards
from jrnn.training.checkpoints.manifest import CheckpointError, Manifest
from jrnn.training.differences import differences


class Restored(NamedTuple):
    """A checkpoint that was read."""

    tree: Any
    step: int
    progress: dict[str, Any]
    notes: list[str]  # damaged checkpoints, changes of the run; also issued as warnings


def inspect(
    folder: str | os.PathLike[str],
    step: int | None = None,
    *,
    max_bytes: int = MAX_BYTES,
) -> Manifest:
    """Returns the manifest of the newest intact checkpoint, or of the given step.

    Its `facts` describe the run, for example the configuration from which the model can
    be built. All files are verified.

    Args:
      folder: The folder of a `Checkpoints`. It is not locked.
      step: The step; None for the newest.
      max_bytes: The largest size of a checkpoint that is read.

    Raises:
      CheckpointError: If there is no intact checkpoint.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> from jrnn.training.checkpoints import Checkpoints
      >>> temporary = tempfile.TemporaryDirectory()
      >>> with Checkpoints(temporary.name, {"seed": 3}) as store:
      ...     store.save(10, {"w": jnp.ones(3)})
      >>> found = inspect(temporary.name)
      >>> found.step, found.facts
      (10, {'seed': 3})
      >>> temporary.cleanup()
    """
    return _find(Path(folder), step, set(), max_bytes).manifest


def load(
    folder: str | os.PathLike[str],
    like: Any,
    step: int | None = None,
    *,
    cast: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """Returns the tree of the newest intact checkpoint, or of the given step.

    If a NamedTuple or a dictionary was saved, `like` may contain only some of its
    fields. For example, `load(folder, {"params": shapes})` reads only the parameters.

    Args:
      folder: The folder of a `Checkpoints`. It is not locked.
      like: A tree of arrays or of shapes, with the structure of the saved tree.
      step: The step; None for the newest.
      cast: Whether dtypes may differ. Otherwise that is an error.
      max_bytes: The largest size of a checkpoint that is read.

    Raises:
      CheckpointError: If there is no intact checkpoint, or it does not fit `like`.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> from jrnn.training.checkpoints import Checkpoints
      >>> temporary = tempfile.TemporaryDirectory()
      >>> with Checkpoints(temporary.name, {"config": {"hidden_size": 3}}) as store:
      ...     store.save(1, {"params": jnp.ones(3), "opt_state": jnp.zeros(3)})
      >>> size = inspect(temporary.name).facts["config"]["hidden_size"]
      >>> load(temporary.name, {"params": jnp.zeros(size)})["params"].tolist()
      [1.0, 1.0, 1.0]
      >>> temporary.cleanup()
    """
    wanted = leaves.top_names(like)
    names = {f"{stem}{files.SUFFIX}" for stem in wanted} if wanted else None
    found = _find(Path(folder), step, names, max_bytes)
    saved = found.manifest.leaves
    if wanted:
        kept = {name for name in saved if name.partition(".")[0] in wanted}
        saved = {name: saved[name] for name in saved if name in kept}
    leaves.require_same(saved, leaves.outline(like), cast)
    return build(
        found._replace(manifest=found.manifest._replace(leaves=saved)), like, cast
    )


def build(found: files.Found, like: Any, cast: bool) -> Any:
    """Returns the tree of a checkpoint, with types and devices of `like`."""
    saved = found.manifest.leaves
    if any(map(shards.written, found.manifest.files)):
        arrays = shards.read(found.path, like, saved)
    else:
        arrays = leaves.decode(_parse(found), saved)
    try:
        return trees.restore(like, arrays, cast=cast)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint does not fit the run: {error}") from None


def _parse(found: files.Found) -> leaves.Arrays:
    arrays, saved = files.parse(found.contents), found.manifest.leaves
    if set(arrays) != set(saved):
        odd = sorted(set(arrays) ^ set(saved))
        raise CheckpointError(f"files and manifest differ in the leaves {odd[:5]}.")
    return arrays


def choose_steps(folder: Path, step: int | None) -> list[int]:
    """Returns the steps to consider.

    Raises:
      CheckpointError: If there is no checkpoint of a given step.
    """
    steps = folders.list_steps(folder)
    if step is None:
        return steps
    if step not in steps:
        raise CheckpointError(
            f"{folder} has no checkpoint of step {step}. Its steps are {steps}."
        )
    return [step]


def compare_environments(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns a note for each difference that may change results."""
    return [
        f"{sentence}: results may differ in their last digits"
        for sentence in differences(old, new).values()
    ]


def fingerprint(data: Any) -> str:
    """Returns the sha256 of bytes, text, or the leaves of a tree of arrays.

    Args:
      data: Bytes, text, or a tree. Names, dtypes and shapes of leaves count.

    Example:
      >>> import numpy as np
      >>> fingerprint("abc")[:8], fingerprint(np.arange(3, dtype="int32"))[:8]
      ('ba7816bf', '...')
    """
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    if isinstance(data, bytes | bytearray | memoryview):
        return hashlib.sha256(data).hexdigest()
    sha = hashlib.sha256(repr(leaves.outline(data)).encode())
    for leaf in leaves.encode(leaves.to_host(data, np.asarray)).values():
        sha.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def _find(
    folder: Path, step: int | None, names: set[str] | None, max_bytes: int
) -> files.Found:
    found = files.find_newest(folder, choose_steps(folder, step), names, max_bytes)
    if found is None:
        raise CheckpointError(f"{folder} has no checkpoint.")
    return found
