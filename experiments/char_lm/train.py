"""The training of one run: from a text to a folder with a model in it."""

import json
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

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
from experiments.char_lm.config import Sample, Train
from experiments.char_lm.evaluate import GLANCE, held_out_loss, on_one_device
from experiments.errors import UserError
from experiments.interruption import Request, requests
from jrnn import training

UPDATES_PER_CALL = 10  # between two looks at the keyboard, the clock and the bar
STOPPED = 75  # exit code after SIGTERM: saved, to be run again
SAMPLE_LENGTH = 240
LONG_SAMPLE_LENGTH = 600


class Standing(NamedTuple):
    """Where the training stands after a call."""

    step: int
    done: float  # share of the training
    left: float  # seconds
    loss: float  # nats per character
    bits: float  # per character
    norm: float
    clipped: float
    skipped: int
    characters: int  # of this call
    seconds: float  # of this call


def run(config: Train, old: Train | None = None) -> int:
    """Begins a run, or resumes one that `old` began; returns the exit code.

    Raises:
      UserError: if an option, the text or the folder cannot be used.
    """
    data = corpus.split(*corpus.read_text(config.text), config.batch_size, config.chunk)
    path = config.resume or config.out or default_folder()
    with run_folder.locked(path):
        warnings = [] if old is None else check_resumed(path, old, config, data)
        if old is None:
            run_folder.create(path, config, data)
        session = Session(path, config, data)
        warnings += run_folder.record_session(path, devices.describe(session.mesh))
        warnings += [] if old is None else session.restore()
        session.introduce(warnings)
        return session.train()


def default_folder() -> Path:
    """Returns a folder named after the time."""
    return Path("runs") / time.strftime("char_lm-%Y%m%d-%H%M%S")


def check_resumed(path: Path, old: Train, new: Train, data: corpus.Corpus) -> list[str]:
    """Returns warnings about what a resumed run changes.

    Raises:
      UserError: if it would no longer be the same text or model.
    """
    _, facts, vocabulary = run_folder.read(path)
    warnings = options.refuse_changes(old, new)
    differing = [
        f"{name} was {facts.get(name)} and is now {value}"
        for name, value in data.facts.items()
        if name != "name" and facts.get(name) != value
    ]
    if vocabulary != data.vocabulary:
        differing.append("the vocabulary is another")
    if differing:
        raise UserError(
            f"{path} was trained on another text ({facts.get('name')}): "
            f"{'; '.join(differing)}. Give it back its text, or start a new run."
        )
    run_folder.rewrite_options(path, new)
    return warnings


class Session:
    """One process's share of a run."""

    def __init__(self, path: Path, config: Train, data: corpus.Corpus) -> None:
        self.path, self.config, self.data = path, config, data
        self.minutes, self.steps = options.budget(config)
        self.mesh = devices.mesh(config.devices, config.batch_size)
        self.model = models.build(config, len(data.vocabulary))
        self.learner = update.begin(config, self.model, self.mesh)
        self.step, self.seconds = 0, 0.0

    def restore(self) -> list[str]:
        """Goes back to the newest checkpoint; returns warnings."""
        self.learner, facts, warnings = run_folder.restore(self.path, self.learner)
        if facts and facts["vocabulary"] != self.data.vocabulary.sha256:
            raise UserError(f"the checkpoints of {self.path} have another vocabulary.")
        self.step, self.seconds = facts.get("step", 0), facts.get("seconds", 0.0)
        run_folder.trim_metrics(self.path, self.step)
        return warnings

    def introduce(self, warnings: list[str]) -> None:
        """Prints what is going to happen."""
        config, data, number = self.config, self.data, terminal.number
        lost = int(np.sum(data.held_out == corpus.UNKNOWN_ID))
        unknown = f" ({number(lost)} of them <unk>)" if lost else ""
        limits = [f"{self.minutes:g} minutes"] if self.minutes else []
        limits += [f"{number(self.steps)} updates"] if self.steps else []
        terminal.say()
        terminal.fact("corpus", data.name)
        terminal.fact(
            "characters",
            f"{number(len(data.train))} to train on, {number(len(data.held_out))} held "
            f"out{unknown}",
        )
        terminal.fact("vocabulary", f"{len(data.vocabulary)} symbols with <unk>")
        terminal.fact(
            "model",
            f"{config.layers} x {config.cell.upper()} of {config.hidden_size}, "
            f"{number(models.count(self.learner.params))} parameters",
        )
        terminal.fact(
            "training",
            f"{' or '.join(limits)}: {config.batch_size} places, chunks of "
            f"{config.chunk}, Adam {config.learning_rate:g}, clip {config.clip:g}",
        )
        terminal.fact("devices", devices.describe(self.mesh))
        terminal.fact("run", str(self.path))
        if self.step:
            terminal.fact("resumed", f"after {number(self.step)} updates")
        for warning in warnings:
            terminal.warn(warning)

    def train(self) -> int:
        """Trains to the end or to an interruption; returns the exit code."""
        if self.done >= 1:
            terminal.say(
                "\nThis run has reached its end. Give it a longer --minutes or --steps "
                "to go on."
            )
            return 0
        advance, text = self.compile()
        bar = terminal.Bar(self.done)
        try:
            with requests() as request:
                self.loop(advance, text, bar, request)
        finally:
            bar.close()
        self.save()
        if request.signal == signal.SIGTERM:
            terminal.say(f"\nStopped and saved. Go on: {self.resume_command}")
            return STOPPED
        self.finish(bool(request))
        return 0

    def compile(self) -> tuple[update.Advance, jax.Array]:
        """Compiles the updates and puts the text on the devices."""
        ring = NamedSharding(self.mesh, PartitionSpec())
        text = jax.device_put(jnp.asarray(self.data.train), ring)
        advance = update.make_advance(
            self.config, self.model, self.mesh, len(self.data.train)
        )
        began = time.monotonic()
        compiled = advance.lower(self.learner, self.block(), text).compile()
        terminal.fact("compiled", f"in {time.monotonic() - began:.1f} s")
        terminal.say()
        return compiled, text

    def loop(
        self,
        advance: update.Advance,
        text: jax.Array,
        bar: terminal.Bar,
        request: Request,
    ) -> None:
        """Trains, reports, saves and samples until the end or a request for it."""
        saved = time.monotonic()
        while self.done < 1 and not request and self.step != self.config.stop_after:
            before = self.done
            standing = self.advance(advance, text)
            bar.show(standing)
            if self.done < 1 and _crosses(before, self.done, self.config.samples):
                self.show_sample()
            if time.monotonic() - saved > 60 * self.config.save_minutes:
                self.save()
                saved = time.monotonic()

    def advance(self, advance: update.Advance, text: jax.Array) -> Standing:
        """Makes one call and records what came of it."""
        block = self.block()
        began = time.monotonic()
        self.learner, report = advance(self.learner, block, text)
        report = update.Report(*(value.item() for value in jax.device_get(report)))
        seconds = time.monotonic() - began
        self.step += int(block.size)
        self.seconds += seconds
        characters = int(block.size) * self.config.batch_size * self.config.chunk
        standing = Standing(
            step=self.step,
            done=self.done,
            left=self.seconds * (1 - self.done) / max(self.done, 1e-9),
            bits=update.bits(report.loss),
            characters=characters,
            seconds=seconds,
            **{name: getattr(report, name) for name in _SHARED},
        )
        row = standing._asdict() | {"seconds": self.seconds}
        run_folder.append_line(self.path / "metrics.jsonl", json.dumps(row))
        try:
            training.raise_if_stuck(self.learner.opt_state)
        except training.NonFiniteError as error:
            raise UserError(f"training stopped at step {self.step}: {error}") from None
        return standing

    @property
    def done(self) -> float:
        """The share of the training that is done."""
        by_clock = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return max(by_clock, self.step / self.steps if self.steps else 0.0)

    def block(self) -> update.Block:
        """Returns the next few updates: up to a border, or to where the run stops."""
        size = UPDATES_PER_CALL - self.step % UPDATES_PER_CALL
        for end in (self.steps, self.config.stop_after):
            size = size if end is None else max(0, min(size, end - self.step))
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

    def save(self) -> None:
        """Writes a checkpoint.

        Raises:
          UserError: if the parameters are not finite: a good checkpoint stays the last.
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

    def show_sample(self, length: int = SAMPLE_LENGTH) -> None:
        """Writes a short text, and scores the beginning of the held-out part."""
        params = on_one_device(self.learner.params)
        bits = update.bits(held_out_loss(self.model, params, self.data, GLANCE))
        title = (
            f"after {terminal.number(self.step)} updates, held-out about {bits:.2f} "
            "bits per character"
        )
        self.write(params, title, length)

    def write(self, params: Any, title: str, length: int) -> None:
        """Shows a sample and keeps it."""
        vocabulary = self.data.vocabulary
        prime = "\n" if "\n" in vocabulary.characters else vocabulary.characters[0]
        how = Sample(self.path, prime=prime, length=length, seed=self.step)
        text = models.write(self.model, params, vocabulary, how)
        terminal.sample(title, prime, text)
        entry = f"=== {title}\n{prime}{text}\n"
        run_folder.append_line(self.path / "samples.txt", entry)

    def finish(self, interrupted: bool) -> None:
        """Scores the held-out text and says what can be done next."""
        params = on_one_device(self.learner.params)
        number = terminal.number(len(self.data.held_out))
        with terminal.waiting(f"reading {number} held-out characters") as progress:
            nats = held_out_loss(self.model, params, self.data, progress=progress)
        result = {
            "step": self.step,
            "seconds": self.seconds,
            "finished": self.done >= 1,
            "held_out_characters": len(self.data.held_out),
            "held_out_nats": nats,
            "held_out_bits": update.bits(nats),
        }
        run_folder.write_json(self.path / "result.json", result)
        figures = f"{update.bits(nats):.3f} bits per character ({nats:.4f} nats)"
        self.write(params, f"after {terminal.number(self.step)} updates", 600)
        if interrupted:
            terminal.say("Interrupted; what was learned is saved.")
        terminal.fact("held out", figures)
        terminal.fact(
            "run", f"{self.path} ({terminal.clock(self.seconds)} of training)"
        )
        terminal.fact("write more", f"python -m experiments sample {self.path}")
        terminal.fact("train on", self.resume_command)

    @property
    def resume_command(self) -> str:
        """What to type to continue."""
        longer = ""
        if self.done >= 1:
            double = 2 * (self.steps or 2 * (self.minutes or 0))
            longer = (
                f" --steps {double}" if self.steps else f" --minutes {double / 2:g}"
            )
        return f"python -m experiments train char_lm --resume {self.path}{longer}"


_SHARED = ["loss", "norm", "clipped", "skipped"]


def _crosses(before: float, after: float, samples: int) -> bool:
    """Whether one of the moments that divide the training in equal parts has passed."""
    return int(before * (samples + 1)) < int(after * (samples + 1))
