"""A session: the part of a run that one process trains."""

import json
import math
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from experiments import devices
from experiments.char_lm import (
    config as options,
    corpus,
    model as models,
    run_folder,
    terminal,
    update,
)
from experiments.char_lm.config import Train
from experiments.errors import UserError
from jrnn import training

UPDATES_PER_CALL = 10  # between checks of signals and the clock


class Standing(NamedTuple):
    """The progress after a call. Averages are NaN if all updates were skipped."""

    step: int
    done: float  # fraction of the training
    left: float  # seconds
    loss: float  # nats per character
    bits: float  # per character
    norm: float
    clipped: float
    skipped: int
    characters: int  # of this call
    seconds: float  # of this call


class Session:
    """The part of a run that one process trains."""

    def __init__(self, path: Path, config: Train, data: corpus.Corpus) -> None:
        self.path, self.config, self.data = path, config, data
        self.minutes, self.steps = options.budget(config)
        self.mesh = devices.mesh(config.devices, config.batch_size)
        self.model = models.build(config, len(data.vocabulary))
        self.recipe = options.recipe(config)
        self.learner = update.begin(self.recipe, self.model, self.mesh)
        self.step, self.seconds = 0, 0.0

    def restore(self) -> list[str]:
        """Restores the newest checkpoint; returns warnings."""
        self.learner, facts, warnings = run_folder.restore(self.path, self.learner)
        if facts and facts["vocabulary"] != self.data.vocabulary.sha256:
            raise UserError(f"the checkpoints of {self.path} have another vocabulary.")
        self.step, self.seconds = facts.get("step", 0), facts.get("seconds", 0.0)
        run_folder.trim_metrics(self.path, self.step)
        run_folder.rewrite_options(self.path, self.config)
        return warnings

    @property
    def done(self) -> float:
        """The fraction of the training that is done."""
        by_clock = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return max(by_clock, self.step / self.steps if self.steps else 0.0)

    @property
    def running(self) -> bool:
        """Whether the training is not finished."""
        stop = self.config.stop_after
        return self.done < 1 and (stop is None or self.step < stop)

    def block(self) -> update.Block:
        """Returns the next updates, up to the next multiple of ten or to the end."""
        size = UPDATES_PER_CALL - self.step % UPDATES_PER_CALL
        for end in (self.steps, self.config.stop_after):
            size = size if end is None else min(size, end - self.step)
        place = update.position(self.step, self.config, len(self.data.train))
        by_steps = self.step / self.steps if self.steps else -1.0
        clocked = self.done > by_steps
        return update.Block(
            step=np.int32(self.step),
            size=np.int32(size),
            position=np.int32(place),
            done=np.float32(self.done if clocked else 0),
            per_step=np.float32(0 if clocked or not self.steps else 1 / self.steps),
        )

    def compile(self) -> tuple[update.Advance, jax.Array]:
        """Compiles the updates and copies the text to the devices."""
        ring = NamedSharding(self.mesh, PartitionSpec())
        text = jax.device_put(jnp.asarray(self.data.train), ring)
        characters = len(self.data.train)
        advance = update.make_advance(self.recipe, self.model, self.mesh, characters)
        nothing = self.block()._replace(size=np.int32(0))
        with terminal.taking("compiling"):
            self.learner, _ = advance(self.learner, nothing, text)
            jax.block_until_ready(self.learner)
        return advance, text

    def advance(self, advance: update.Advance, text: jax.Array) -> Standing:
        """Runs one call and records the metrics."""
        block = self.block()
        began = time.monotonic()
        self.learner, report = advance(self.learner, block, text)
        loss, norm, clipped, skipped = (value.item() for value in report)
        seconds = time.monotonic() - began
        self.step += int(block.size)
        self.seconds += seconds
        characters = int(block.size) * self.config.batch_size * self.config.chunk
        standing = Standing(
            step=self.step,
            done=self.done,
            left=self.seconds * (1 - self.done) / max(self.done, 1e-9),
            loss=loss,
            bits=update.bits(loss),
            norm=norm,
            clipped=clipped,
            skipped=skipped,
            characters=characters,
            seconds=seconds,
        )
        row = standing._asdict() | {"seconds": self.seconds}
        del row["left"]
        row = {k: v if math.isfinite(v) else None for k, v in row.items()}
        run_folder.append_line(self.path / "metrics.jsonl", json.dumps(row))
        try:
            training.raise_if_stuck(self.learner.opt_state)
        except training.NonFiniteError as error:
            raise UserError(f"training stopped at step {self.step}: {error}") from None
        return standing

    def save(self) -> None:
        """Writes a checkpoint.

        Raises:
          UserError: If the parameters are not finite. Nothing is written.
        """
        if not training.all_finite(self.learner.params):
            raise UserError(
                f"parameters are not finite at step {self.step}: not saved."
            )
        facts = {
            "seconds": self.seconds,
            "vocabulary": self.data.vocabulary.sha256,
            "corpus": self.data.sha256,
        }
        run_folder.save(self.path, self.step, self.learner, facts)
