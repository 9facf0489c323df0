"""A session: the part of a run that one process trains."""

import contextlib
import functools
import json
import math
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.errors import UserError
from experiments.run import devices, disk, folder, models, terminal, update, weights
from experiments.run.events import Events
from experiments.run.task import Data, Score, Stream, Task
from jrnn import training
from jrnn.training import batches, processes
from jrnn.training.batches import BatchSplit
from jrnn.training.checkpoints import CheckpointWarning

UPDATES_PER_CALL = 10  # between checks of signals and the clock


class Standing(NamedTuple):
    """The progress after a call. Averages are NaN if all updates were skipped."""

    step: int
    done: float  # fraction of the training
    left: float  # seconds
    loss: float
    norm: float
    clipped: float
    skipped: int
    rows: int  # rows of batches of this call
    seconds: float  # of this call


class Session:
    """The part of a run that one process trains."""

    def __init__(self, path: Path, task: Task, options: Any, data: Data) -> None:
        self.path, self.task, self.options, self.data = path, task, options, data
        self.minutes, self.steps = options.budget
        self.mesh = devices.mesh(options.devices, options.batch_size)
        self.split = BatchSplit(options.batch_size, self.mesh, devices.AXIS)
        models.check_cell(task.cell, options)
        self.model = task.model(options, data.saved)
        self.recipe = options.recipe
        new = options.resume is None
        self.learner = self.begin() if new else self.drawn()
        self.step, self.seconds = 0, 0.0
        self.together = 1  # seeds that train at once
        self.events = Events(path)
        self.best = folder.best_score(path)

    def begin(self) -> update.Learner:
        """Returns the learner before the first update, with weights if they are given.

        Raises:
          UserError: If the weights are of another model.
        """
        learner = self.drawn()
        if self.options.weights is None:
            return learner
        given = self.options.weights
        params = weights.read(given, learner.params, self.options, self.data)
        return learner._replace(params=batches.replicate(params, self.mesh))

    def begin_again(self) -> update.Learner:
        """Returns the learner before the first update of a run that has a folder.

        Raises:
          UserError: If the weights are of another model, or have changed.
        """
        learner = self.begin()
        weights.check_unchanged(self.path, self.options.weights)
        return learner

    def drawn(self) -> update.Learner:
        """Returns a learner with weights that are drawn from the seed."""
        how = self.task, self.recipe, self.model, self.split
        return update.begin(*how, self.options.seed)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Locks the folder. `restore` and `save` need it.

        Raises:
          CheckpointError: If another process uses the folder, or it is not writable.
          ProcessError: If processes that train together have other options or data.
        """
        processes.agree({"options": shared_options(self.options)})
        facts = folder.facts(self.task, self.options, self.data)
        with (
            folder.opened(self.path, facts) as self.store,
            contextlib.closing(self.events),
        ):
            yield

    def restore(self) -> list[str]:
        """Restores the newest checkpoint that is intact; returns warnings.

        Raises:
          CheckpointError: If none is intact, or it is of another run.
          UserError: If there is none, and the weights of the start have changed.
        """
        rows = self.options.batch_size
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), self.learner
        )
        state = jax.tree.map(
            lambda leaf: leaf.update(shape=(rows, *leaf.shape[1:])), like.state
        )
        with warnings.catch_warnings():  # they are returned
            warnings.simplefilter("ignore", CheckpointWarning)
            found = self.store.restore(like._replace(state=state))
        if found is None:
            self.learner = self.begin_again()
            return [f"{self.path} has no checkpoint yet: starting from the beginning."]
        self.learner = update.place(found.tree, self.split)
        self.step, self.seconds = found.step, found.progress["seconds"]
        return found.notes

    @property
    def done(self) -> float:
        """The fraction of the training that is done."""
        by_clock = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return max(by_clock, self.step / self.steps if self.steps else 0.0)

    @property
    def seed(self) -> np.uint32:
        """The seed as the compiled updates take it."""
        return np.uint32(self.options.seed % 2**32)

    @property
    def running(self) -> bool:
        """Whether the training is not finished."""
        stop = self.options.stop_after
        return self.done < 1 and (stop is None or self.step < stop)

    def block(self) -> update.Block:
        """Returns the next updates, up to the next multiple of ten or to the end."""
        size = UPDATES_PER_CALL - self.step % UPDATES_PER_CALL
        for end in (self.steps, self.options.stop_after):
            size = size if end is None else min(size, end - self.step)
        by_steps = self.step / self.steps if self.steps else -1.0
        clocked = self.done > by_steps
        return update.Block(
            step=np.int32(self.step),
            size=np.int32(size),
            done=np.float32(self.done if clocked else 0),
            per_step=np.float32(0 if clocked or not self.steps else 1 / self.steps),
            seed=self.seed,
        )

    def compile(self) -> tuple[update.Advance, Any]:
        """Compiles the updates, and copies data that does not stream to the devices."""
        arrays = self.data.arrays
        advance = update.make_advance(self.task, self.recipe, self.model, self.split)
        if isinstance(arrays, Stream):
            advance = functools.partial(read_and_advance, advance, self.options)
        else:
            arrays = batches.replicate(arrays, self.mesh)
        nothing = self.block()._replace(size=np.int32(0))
        with terminal.taking("compiling"):
            self.learner, _ = advance(self.learner, nothing, arrays)
            jax.block_until_ready(self.learner)
        return advance, arrays

    def advance(self, advance: update.Advance, arrays: Any) -> Standing:
        """Runs one call and records the metrics."""
        block = self.block()
        began = time.monotonic()
        self.learner, report = advance(self.learner, block, arrays)
        values = [value.item() for value in report]
        return self.record(int(block.size), values, agreed(time.monotonic() - began))

    def record(self, size: int, report: Any, seconds: float) -> Standing:
        """Counts and records updates; `report` holds plain numbers."""
        loss, norm, clipped, skipped, which = report
        bad = [self.step + i for i in range(size) if which >> i & 1]
        self.step += size
        self.seconds += seconds
        standing = Standing(
            step=self.step,
            done=self.done,
            left=self.seconds * (1 - self.done) / max(self.done, 1e-9),
            loss=loss,
            norm=norm,
            clipped=clipped,
            skipped=skipped,
            rows=size * self.options.batch_size,
            seconds=seconds,
        )
        row = standing._asdict() | {"seconds": self.seconds}
        del row["left"]
        row = {k: v if math.isfinite(v) else None for k, v in row.items()}
        if bad:
            row["skipped_steps"] = bad
            terminal.warn(f"skipped updates with gradients that are not finite: {bad}")
        disk.append_line(self.path / "metrics.jsonl", json.dumps(row))
        self.events.add(self.step, row, "train")
        try:
            training.raise_if_stuck(self.learner.opt_state)
        except training.NonFiniteError as error:
            raise UserError(f"training stopped at step {self.step}: {error}") from None
        return standing

    def first_loss(self, advance: update.Advance, arrays: Any) -> float:
        """Returns the loss of the first update of the run, which is computed again.

        It is infinite if the run started from weights that are gone or have changed.
        """
        try:
            start, zero = self.begin_again(), np.float32(0)
        except UserError:
            return math.inf
        block = update.Block(np.int32(0), np.int32(1), zero, zero, self.seed)
        return advance(start, block, arrays)[1].loss.item()

    def save(self) -> None:
        """Writes a checkpoint and the weights.

        Raises:
          CheckpointError: If the learner is not finite (nothing is written then), or
            the disk is full.
        """
        state = self.split.gather(self.learner.state)
        saved = self.learner._replace(state=state)
        self.store.save(self.step, saved, {"seconds": self.seconds})
        parts = self.path, self.learner.params, self.step, self.data
        processes.on_first(lambda: folder.save_weights(*parts), UserError)

    def keep_best(self, score: Score, params: Any) -> None:
        """Saves parameters with the best score so far, and logs the score.

        The scores that are compared are those of `Task.glance`.
        """
        self.events.add(self.step, score.figures, "held_out")
        value = next(iter(score.figures.values()))
        lower = self.task.lower_is_better
        known = self.best if self.best is not None else math.inf * (1 if lower else -1)
        if not (value < known if lower else value > known):
            return
        self.best = value
        parts = self.path, params, self.step, self.data, folder.BEST
        save = functools.partial(folder.save_weights, *parts, score=value)
        processes.on_first(save, UserError)


def read_and_advance(
    advance: update.Advance,
    options: Any,
    learner: update.Learner,
    block: update.Block,
    stream: Stream,
) -> Any:
    """Runs the updates of a block, on batches that are read for it; always as many."""
    read = stream.batches(options, int(block.step), UPDATES_PER_CALL)
    return advance(learner, block, update.Window(block.step, read))


def agreed(seconds: float) -> float:
    """Returns a duration that is the same on all processes: the longest."""
    if jax.process_count() == 1:
        return seconds
    return float(processes.gather([round(1000 * seconds)]).max()) / 1000


def shared_options(options: Any) -> dict[str, Any]:
    """Returns what must be equal on all processes. Paths may differ, not content."""
    given = {**vars(options), "resume": options.resume is not None}
    own = ("out", "process", "coordinator")
    return {
        name: value
        for name, value in given.items()
        if name not in own and not isinstance(value, Path)
    }
