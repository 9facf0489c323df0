"""How the arrays of a checkpoint are written: by process 0, or by every process.

A writer begins a checkpoint, and finishes it: then it has its name and is on the disk.
Every process calls both.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from jrnn.storage import named_arrays
from jrnn.training import processes
from jrnn.training.checkpoints import files, folder as folders, leaves, shards
from jrnn.training.checkpoints.manifest import CheckpointError, Manifest


class Writer(Protocol):
    """Writes the checkpoints of a folder."""

    def begin(self, manifest: Manifest, tree: Any, finite: bool) -> None:
        """Takes what is needed of the tree, which may change afterwards."""

    def finish(self) -> None:
        """Waits until what was begun is on the disk."""

    def close(self) -> None:
        """Releases threads."""


class Plain:
    """Process 0 writes whole arrays, in a thread of its own with `background`."""

    def __init__(self, folder: Path, keep: int, background: bool) -> None:
        self.folder, self.keep = folder, keep
        self._thread = ThreadPoolExecutor(1, "checkpoints") if background else None
        self._finish: Callable[[], Any]

    def begin(self, manifest: Manifest, tree: Any, finite: bool) -> None:
        arrays = leaves.to_host(tree, processes.to_host)

        def check() -> None:
            if finite:
                _refuse(leaves.not_finite(arrays), manifest.step)
            parts = leaves.parts(tree, leaves.encode(arrays))
            if self._thread is None:
                self._finish = lambda: self._write(manifest, parts)
            else:
                copies = _copies(parts)
                self._finish = self._thread.submit(self._write, manifest, copies).result

        processes.on_first(check, CheckpointError)

    def finish(self) -> None:
        processes.on_first(lambda: self._finish(), CheckpointError)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def _write(self, manifest: Manifest, parts: dict[str, leaves.Arrays]) -> None:
        files.write(self.folder, manifest, parts)
        folders.prune(self.folder, self.keep)


class Sharded:
    """Every process writes its parts of the arrays, with Orbax, while training goes on.

    Process 0 then hashes all that Orbax wrote, and gives the checkpoint its name.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._orbax = shards.saver()

    def begin(self, manifest: Manifest, tree: Any, finite: bool) -> None:
        named = named_arrays.flatten(tree)
        for name, leaf in named.items():
            leaves.require_numeric(name, leaf.dtype)
        if finite:
            _refuse([name for name in named if not _finite(named[name])], manifest.step)
        made = processes.on_first(
            lambda: str(folders.new_part(self.folder, manifest.step)), CheckpointError
        )
        self._part, self._manifest = Path(made), manifest
        self._try(lambda: shards.begin(self._orbax, self._part, named))

    def finish(self) -> None:
        self._try(self._orbax.wait_until_finished)
        processes.on_first(lambda: self._try(self._publish), CheckpointError)

    def _publish(self) -> None:
        described = shards.describe(self._part)
        files.publish(self._part, self._manifest, described)
        folders.prune(self.folder, self.keep)

    def close(self) -> None:
        self._orbax.close()

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            if processes.is_first():
                folders.discard(self._part)
            path = folders.step_path(self.folder, self._manifest.step)
            raise CheckpointError(
                f"cannot write the checkpoint {path}: {error}. Earlier ones are "
                "intact. Free some space or repair the disk, then resume."
            ) from error


def _refuse(bad: list[str], step: int) -> None:
    if bad:
        raise CheckpointError(
            f"{', '.join(bad[:5])} is not finite at step {step}, so it was not saved. "
            "Earlier checkpoints are intact. Pass `require_finite=False` to save it "
            "anyway."
        )


def _finite(leaf: Any) -> bool:
    """Whether an array is finite, which may be split over processes."""
    inexact = jnp.issubdtype(leaf.dtype, np.inexact)
    return not inexact or bool(processes.to_host(jnp.all(jnp.isfinite(leaf))))


def _copies(parts: Mapping[str, leaves.Arrays]) -> dict[str, leaves.Arrays]:
    """Copies arrays, because the loop may donate or change them meanwhile."""
    return {
        stem: {name: np.array(array) for name, array in arrays.items()}
        for stem, arrays in parts.items()
    }
