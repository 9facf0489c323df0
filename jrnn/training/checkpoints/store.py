"""Saves the state of a training loop, and restores it."""

import contextlib
import os
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax

from jrnn import checks
from jrnn.storage.closing import Closing
from jrnn.storage.disk import MAX_BYTES
from jrnn.training import processes
from jrnn.training.checkpoints import (
    files,
    folder as folders,
    leaves,
    manifest,
    shards,
    writers,
)
from jrnn.training.checkpoints.changes import refuse_changes
from jrnn.training.checkpoints.manifest import (
    CheckpointError,
    CheckpointWarning,
    Manifest,
)
from jrnn.training.checkpoints.reading import (
    Restored,
    build,
    choose_steps,
    compare_environments,
)


class Checkpoints(Closing):
    """The checkpoints of a run, in a folder that this process locks.

    Each checkpoint is a folder with plain arrays (`.safetensors`) and a manifest with
    the SHA-256 of every file. It appears under its name only when it is complete and on
    disk.

    Under `jax.distributed`, every process creates this object and calls its methods in
    the same order. Process 0 writes and reads; if it fails, every process raises.

    Attributes:
      folder: The folder.
      step: The step that was saved or restored last; None if there is none.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> temporary = tempfile.TemporaryDirectory()
      >>> facts = {"config": {"hidden_size": 4}, "data": "3f786850e387"}
      >>> with Checkpoints(temporary.name, facts) as store:
      ...     start = store.restore({"w": jnp.zeros(3)})
      ...     store.save(10, {"w": jnp.ones(3)}, {"seconds": 1.5})
      >>> with Checkpoints(temporary.name, facts) as store:
      ...     again = store.restore({"w": jnp.zeros(3)})
      >>> start, again.step, again.tree["w"].tolist(), again.progress
      (None, 10, [1.0, 1.0, 1.0], {'seconds': 1.5})
      >>> temporary.cleanup()
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        facts: Mapping[str, Any] | None = None,
        *,
        may_change: Collection[str] = (),
        keep: int = 3,
        background: bool = False,
        sharded: bool = False,
        require_finite: bool = True,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Locks the folder and removes incomplete files of a killed process.

        Args:
          folder: The folder; made if it does not exist.
          facts: A description of the run as nested dictionaries of plain values: its
            configuration, its vocabulary, the `fingerprint` of its data. They are
            saved, and `restore` compares them.
          may_change: Paths to facts that may differ when a run is resumed, such as
            "config.learning_rate", or "config" for all of it. A change is reported.
          keep: The number of checkpoints to keep.
          background: Whether `save` returns before the files are written.
          sharded: Whether every process writes and reads its own shards of the arrays,
            with Orbax, for arrays that do not fit in the memory of one host. All
            processes must have access to the folder.
          require_finite: Whether saving NaN or infinity raises an error.
          max_bytes: The largest size of a checkpoint that is read.

        Raises:
          CheckpointError: If another process uses the folder, or it cannot be written.
          ProcessError: If the processes of the program pass different facts.
          TypeError: If `may_change` is one string.
        """
        keep = checks.integer("keep", keep, 1)
        self.folder = Path(folder)
        self.facts = manifest.plain("facts", dict(facts or {}))
        checks.refuse_one_string("may_change", may_change)
        self.may_change = frozenset(may_change)
        processes.agree(
            {"facts": self.facts, "may_change": sorted(self.may_change), "keep": keep}
        )
        self.background, self.max_bytes = background, max_bytes
        self.require_finite = require_finite
        self._open = contextlib.ExitStack()
        self._writer: writers.Writer = (
            writers.Sharded(self.folder, keep)
            if sharded
            else writers.Plain(self.folder, keep, background)
        )
        self._saving: int | None = None  # a step that is not yet on the disk
        self.step: int | None = self._on_first(self._enter)

    def _enter(self) -> int | None:
        self._open.enter_context(folders.locked(self.folder))
        return max(folders.list_steps(self.folder), default=None)

    def steps(self) -> list[int]:
        """Returns the steps of all checkpoints, in increasing order."""
        return self._on_first(lambda: folders.list_steps(self.folder))

    def save(
        self, step: int, tree: Any, progress: Mapping[str, Any] | None = None
    ) -> None:
        """Saves a tree, then deletes all but the newest checkpoints.

        When it returns, the checkpoint is on disk; with `background`, when `wait` or
        the next `save` returns. Saving a step that was just saved or restored does
        nothing.

        Args:
          step: The number of updates so far.
          tree: Parameters, optimizer state, recurrent state, random key and everything
            else that the run needs: arrays, numbers and random keys. Each field of a
            NamedTuple or dictionary is stored in its own file.
          progress: Plain values, such as the position in the data.

        Raises:
          CheckpointError: If it cannot be written, if the save before failed in the
            background, if the tree is not finite, or if there is a later checkpoint.
        """
        step = checks.integer("step", step, 0)
        self.wait()
        if step == self.step:
            return
        if self.step is not None and step < self.step:
            raise CheckpointError(
                f"step {step} cannot be saved, because {self.folder} already has step "
                f"{self.step}. Restore it first, or use another folder."
            )
        described = Manifest(
            step=step,
            files={},
            leaves=leaves.outline(tree),
            facts=self.facts,
            environment=manifest.environment(),
            progress=manifest.plain("progress", dict(progress or {})),
        )
        self._writer.begin(described, tree, self.require_finite)
        self._saving = step
        if not self.background:
            self.wait()

    def wait(self) -> None:
        """Waits until the last checkpoint is on disk.

        Raises:
          CheckpointError: If it could not be written.
        """
        step, self._saving = self._saving, None
        if step is not None:
            self._writer.finish()
            self.step = step

    def restore(
        self, like: Any, *, step: int | None = None, cast: bool = False
    ) -> Restored | None:
        """Restores the newest intact checkpoint, or that of a step.

        Newer checkpoints that are damaged are renamed `aside_...`; with `step`, all
        newer ones are. A warning explains why they are damaged, what changed in the
        run, and whether results will be bit-for-bit the same.

        Args:
          like: A tree of arrays, or of shapes, with the structure of the saved tree.
            The result has its types, shardings and devices.
          step: The step to go back to; None for the newest intact checkpoint.
          cast: Whether dtypes may differ. Otherwise that is an error.

        Returns:
          The tree, its step and progress; None if there is no checkpoint yet.

        Raises:
          CheckpointError: If all checkpoints are damaged, if facts differ that may not
            change, or if the tree differs. The message lists every difference. Nothing
            is renamed then.
        """
        self.wait()
        found = self._read(step)
        if found is None:
            return None
        saved = found.manifest

        def fit() -> tuple[list[str], Any]:
            allowed = refuse_changes(saved.facts, self.facts, self.may_change)
            leaves.require_same(saved.leaves, leaves.outline(like), cast)
            return allowed, build(found, like, cast)

        changed, tree = processes.together(fit, CheckpointError)
        notes = [*found.skipped.values(), *changed]
        notes += compare_environments(saved.environment, manifest.environment())
        self._on_first(lambda: self._set_aside(saved.step))
        self.step = saved.step
        for note in notes:
            warnings.warn(note, CheckpointWarning, stacklevel=2)
        return Restored(tree, saved.step, saved.progress, notes)

    def close(self) -> None:
        """Waits for the last checkpoint and releases the lock.

        Raises:
          CheckpointError: If the last checkpoint could not be written.
        """
        try:
            self.wait()
        finally:
            self._writer.close()
            self._open.close()

    def _read(self, step: int | None) -> files.Found | None:
        """Returns a checkpoint that process 0 found, on every process."""
        own: list[files.Found] = []

        def find() -> dict[str, str] | None:
            steps = choose_steps(self.folder, step)
            found = files.find_newest(self.folder, steps, None, self.max_bytes)
            if found is None:
                return None
            own.append(found)
            return {str(number): reason for number, reason in found.skipped.items()}

        skipped = self._on_first(find)
        if skipped is None or jax.process_count() == 1:
            return own[0] if own else None
        saved = manifest.encode(own[0].manifest) if own else b""
        described = manifest.decode(processes.broadcast(saved))
        contents = {
            name: processes.broadcast(own[0].contents[name] if own else b"")
            for name in described.files
            if not shards.written(name)
        }
        reasons = {int(number): reason for number, reason in skipped.items()}
        path = folders.step_path(self.folder, described.step)
        return files.Found(path, described, contents, reasons)

    def _set_aside(self, step: int) -> None:
        for newer in folders.list_steps(self.folder):
            if newer > step:
                folders.set_aside(self.folder, newer)

    def _on_first(self, action: Callable[[], Any]) -> Any:
        return processes.on_first(action, CheckpointError)
