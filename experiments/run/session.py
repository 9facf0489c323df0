"""A session: the part of a run that one process trains."""

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from experiments.errors import UserError
from experiments.run import devices, disk, folder, terminal, update
from experiments.run.task import Data, Task
from jrnn import training

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
        self.model = task.model(options, data.saved)
        self.recipe = options.recipe
        self.learner = update.begin(task, self.recipe, self.model, self.mesh)
        self.step, self.seconds = 0, 0.0

    def restore(self) -> list[str]:
        """Restores the newest checkpoint; returns warnings."""
        self.learner, facts, warnings = folder.restore(self.path, self.learner)
        if facts and facts["data"] != folder.identity(self.data):
            raise UserError(f"the checkpoints of {self.path} are of other data.")
        self.step, self.seconds = facts.get("step", 0), facts.get("seconds", 0.0)
        return warnings

    @property
    def done(self) -> float:
        """The fraction of the training that is done."""
        by_clock = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return max(by_clock, self.step / self.steps if self.steps else 0.0)

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
        )

    def compile(self) -> tuple[update.Advance, Any]:
        """Compiles the updates and copies the data to the devices."""
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        arrays = jax.device_put(self.data.arrays, everywhere)
        advance = update.make_advance(self.task, self.recipe, self.model, self.mesh)
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
        loss, norm, clipped, skipped = (value.item() for value in report)
        seconds = time.monotonic() - began
        self.step += int(block.size)
        self.seconds += seconds
        standing = Standing(
            step=self.step,
            done=self.done,
            left=self.seconds * (1 - self.done) / max(self.done, 1e-9),
            loss=loss,
            norm=norm,
            clipped=clipped,
            skipped=skipped,
            rows=int(block.size) * self.options.batch_size,
            seconds=seconds,
        )
        row = standing._asdict() | {"seconds": self.seconds}
        del row["left"]
        row = {k: v if math.isfinite(v) else None for k, v in row.items()}
        disk.append_line(self.path / "metrics.jsonl", json.dumps(row))
        try:
            training.raise_if_stuck(self.learner.opt_state)
        except training.NonFiniteError as error:
            raise UserError(f"training stopped at step {self.step}: {error}") from None
        return standing

    def first_loss(self, advance: update.Advance, arrays: Any) -> float:
        """Returns the loss of the first update of the run, which is computed again."""
        start = update.begin(self.task, self.recipe, self.model, self.mesh)
        zero = np.float32(0)
        block = update.Block(np.int32(0), np.int32(1), zero, zero)
        return advance(start, block, arrays)[1].loss.item()

    def save(self) -> None:
        """Writes a checkpoint.

        Raises:
          UserError: If the parameters are not finite. Nothing is written.
        """
        if not training.all_finite(self.learner.params):
            raise UserError(
                f"parameters are not finite at step {self.step}: not saved."
            )
        facts = {"seconds": self.seconds, "data": folder.identity(self.data)}
        folder.save(self.path, self.step, self.learner, facts)
