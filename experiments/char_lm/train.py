"""Trains a model on a text and saves it in a folder."""

import contextlib
import signal
import time
from pathlib import Path

import jax

from experiments import devices
from experiments.char_lm import (
    config as options,
    corpus,
    report,
    run_folder,
    terminal,
    update,
)
from experiments.char_lm.config import Train
from experiments.char_lm.session import Session
from experiments.errors import UserError
from experiments.interruption import Request, requests

INTERRUPTED = 130  # exit code after Ctrl-C before the first update
STOPPED = 75  # exit code after SIGTERM


def run(config: Train, old: Train | None = None) -> int:
    """Starts a run, or resumes a run with the options `old`; returns the exit code.

    Raises:
      UserError: If an option, the text or the folder cannot be used.
    """
    name, text = corpus.read_text(config.text)
    data = corpus.split(name, text, config.batch_size, config.chunk)
    path = config.resume or config.out or default_folder()
    warnings = [] if old is None else check_resumed(path, old, config, data)
    session = Session(path, config, data)
    with run_folder.locked(path):
        if old is None:
            run_folder.create(path, config, data)
        else:
            warnings += session.restore()
        warnings += run_folder.record_session(path, devices.describe(session.mesh))
        report.introduce(session, warnings)
        if session.done < 1:
            return train(session)
        terminal.say("\nThis run is finished. To continue:")
        terminal.say(f"  {report.resume_command(session)}")
        return 0


def default_folder() -> Path:
    """Returns a folder named after the current time."""
    return Path("runs") / time.strftime("char_lm-%Y%m%d-%H%M%S")


def check_resumed(path: Path, old: Train, new: Train, data: corpus.Corpus) -> list[str]:
    """Returns warnings about changed options of a resumed run.

    Raises:
      UserError: If the text or the model differs.
    """
    _, facts, vocabulary = run_folder.read(path)
    warnings = options.refuse_changes(old, new)
    differing = [
        f"{name} was {facts.get(name)} and is now {value}"
        for name, value in data.facts.items()
        if name != "name" and facts.get(name) != value
    ]
    if vocabulary != data.vocabulary:
        differing.append("vocabulary")
    if differing:
        raise UserError(
            f"{path} was trained on another text ({facts.get('name')}): "
            f"{'; '.join(differing)}. Pass the original text, or start a new run."
        )
    return warnings


def train(session: Session) -> int:
    """Trains until the end or an interruption; returns the exit code."""
    first = session.step
    with requests() as request:
        advance, text = session.compile()
        bar = terminal.Bar(session.done)
        with contextlib.closing(bar):
            loop(session, advance, text, bar, request)
    terminated = request.signal == signal.SIGTERM
    if request and session.step == first:
        terminal.say("\nStopped before the first update.")
        return STOPPED if terminated else INTERRUPTED
    session.save()
    if terminated:
        terminal.say(
            f"\nStopped and saved. To continue: {report.resume_command(session)}"
        )
        return STOPPED
    report.finish(session, interrupted=bool(request))
    return 0


def loop(
    session: Session,
    advance: update.Advance,
    text: jax.Array,
    bar: terminal.Bar,
    request: Request,
) -> None:
    """Trains, shows progress, samples and saves until the end or a stop request."""
    config, saved = session.config, time.monotonic()
    while session.running and not request:
        before = session.done
        bar.show(session.advance(advance, text))
        if session.running and crosses(before, session.done, config.samples):
            report.glance(session)
        if time.monotonic() - saved > 60 * config.save_minutes:
            session.save()
            saved = time.monotonic()


def crosses(before: float, after: float, samples: int) -> bool:
    """Whether a sample is due: `samples` of them divide the training evenly.

    Example:
      >>> crosses(0.4, 0.6, samples=1), crosses(0.5, 0.6, samples=1)
      (True, False)
    """
    return int(before * (samples + 1)) < int(after * (samples + 1))
