"""Prints information about a run before, during and after the training."""

from typing import Any

import numpy as np

from experiments import devices
from experiments.char_lm import corpus, model as models, run_folder, terminal, update
from experiments.char_lm.config import Sample
from experiments.char_lm.evaluate import GLANCE, held_out_loss, on_one_device
from experiments.char_lm.session import Session
from experiments.char_lm.terminal import amount, clock, fact, number, say

SHORT, LONG = 240, 600  # characters of samples


def introduce(session: Session, warnings: list[str]) -> None:
    """Prints the settings of a run."""
    config, data = session.config, session.data
    unknown = int(np.sum(data.held_out == corpus.UNKNOWN_ID))
    lengths = [amount(session.minutes, "minute")] if session.minutes else []
    lengths += [amount(session.steps, "update")] if session.steps else []
    say()
    fact("corpus", data.name)
    fact(
        "characters",
        f"{number(len(data.train))} to train on, {number(len(data.held_out))} held out"
        + (f", {number(unknown)} of them <unk>" if unknown else ""),
    )
    fact("vocabulary", f"{len(data.vocabulary)} symbols, one of them <unk>")
    fact(
        "model",
        f"{config.layers} x {config.cell.upper()} of {config.hidden_size} units, "
        f"{number(models.count(session.learner.params))} parameters",
    )
    fact(
        "training",
        f"{' or '.join(lengths)}, {config.batch_size} rows, chunks of "
        f"{config.chunk}, Adam {config.learning_rate:g}, clip {config.clip:g}",
    )
    fact("devices", devices.describe(session.mesh))
    fact("run", str(session.path))
    if session.step:
        fact("resumed", f"after {amount(session.step, 'update')}")
    for warning in warnings:
        terminal.warn(warning)


def glance(session: Session) -> None:
    """Shows a short sample, and the loss of the first held-out characters."""
    params = on_one_device(session.learner.params)
    bits = update.bits(held_out_loss(session.model, params, session.data, GLANCE))
    about = f"held-out about {bits:.2f} bits per character"
    write_sample(session, params, about, SHORT)


def finish(session: Session, interrupted: bool) -> None:
    """Scores the held-out text and prints how to continue."""
    params, data = on_one_device(session.learner.params), session.data
    size = min(len(data.held_out), session.config.score)
    with terminal.waiting(f"scoring {number(size)} held-out characters") as progress:
        nats = held_out_loss(session.model, params, data, size, progress)
    result = {
        "step": session.step,
        "seconds": session.seconds,
        "finished": session.done >= 1,
        "held_out_characters": size,
        "held_out_nats": nats,
        "held_out_bits": update.bits(nats),
    }
    run_folder.write_json(session.path / "result.json", result)
    figures = f"{update.bits(nats):.3f} bits per character ({nats:.4f} nats)"
    write_sample(session, params, f"held-out {figures}", LONG)
    if interrupted:
        say("Interrupted. The model is saved.\n")
    fact("held out", figures)
    fact("trained", f"{amount(session.step, 'update')} in {clock(session.seconds)}")
    fact("run", str(session.path))
    fact("sample", f"python -m experiments sample {session.path} --prime TEXT")
    fact("continue", resume_command(session))


def write_sample(session: Session, params: Any, about: str, length: int) -> None:
    """Shows a sample and saves it."""
    vocabulary = session.data.vocabulary
    how = Sample(session.path, length=length, seed=session.step)
    text = models.write(session.model, params, vocabulary, how)
    title = f"after {amount(session.step, 'update')}: {about}"
    terminal.sample(title, text)
    run_folder.append_line(session.path / "samples.txt", f"=== {title}\n{text}")


def resume_command(session: Session) -> str:
    """Returns the command that continues a run."""
    command = f"python -m experiments train char_lm --resume {session.path}"
    if session.done < 1:
        return command
    if session.steps:
        return f"{command} --steps {2 * session.steps}"
    return f"{command} --minutes {2 * (session.minutes or 0):g}"
