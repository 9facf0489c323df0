"""Trains a model and saves it in a folder."""

import contextlib
import functools
import signal
import time
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.run import devices, folder, messages, record, terminal, update
from experiments.run.profile import Profile
from experiments.run.session import Session
from experiments.run.task import Data, Task
from jrnn.training import processes
from jrnn.training.checkpoints import CheckpointError
from jrnn.training.differences import differences
from jrnn.training.peers import watched as watched
from jrnn.training.processes import ProcessError
from jrnn.training.stopping import StopRequest, stop_requests

DIVERGED = 1  # exit code if the model is worse at the end than at the start


def run(task: Task, options: Any, old: Any = None) -> int:
    """Starts a run, or resumes a run with the options `old`; returns the exit code.

    Raises:
      UserError: If an option, the data or the folder cannot be used.
    """
    with stop_requests() as request:
        return run_until(request, task, options, old)


def run_until(request: StopRequest, task: Task, options: Any, old: Any = None) -> int:
    """Starts or resumes a run that obeys a request; returns the exit code."""
    try:
        return _run_until(request, task, options, old)
    except (CheckpointError, ProcessError) as error:
        raise UserError(str(error)) from None


def _run_until(request: StopRequest, task: Task, options: Any, old: Any) -> int:
    data = task.load(options)
    if request.anywhere():
        return stopped(request)
    path = options.resume or options.out or default_folder(task)
    warnings = [] if old is None else check_resumed(path, task, old, options, data)
    session = Session(path, task, options, data)
    with session.opened():
        if old is None:
            create = functools.partial(folder.create, path, task, options, data)
            processes.on_first(create, UserError)
        else:
            warnings += session.restore()
            if session.done >= 1:
                return finished(session, options, old)
            folder.trim_records(path, session.step)
            folder.rewrite_options(path, options)
        folder.record_session(path, devices.describe(session.mesh))
        messages.introduce(session, warnings)
        return train(session, request)


def finished(session: Session, options: Any, old: Any) -> int:
    """Says how to go on with a run that has nothing left; changes nothing."""
    terminal.say(
        f"\nThis run is finished: it trained {messages.trained(session)}"
        + (", which is not less than asked for" if options != old else "")
        + ". To continue:"
    )
    terminal.say(f"  {messages.resume_command(session)}")
    return 0


def default_folder(task: Task) -> Path:
    """Returns a folder named after the task and the current time."""
    name = time.strftime(f"{task.name}-%Y%m%d-%H%M%S")
    return Path("runs") / processes.on_first(lambda: name)


def check_resumed(path: Path, task: Task, old: Any, new: Any, data: Data) -> list[str]:
    """Returns warnings about changed options of a resumed run.

    Raises:
      UserError: If the data or the model differs.
    """
    saved = folder.read(path, task).data
    warnings = old.changes(new)
    differing = list(differences(saved.facts, data.facts).values())
    if saved.saved != data.saved:
        differing.append("vocabulary" if "vocabulary" in data.saved else "data")
    if differing:
        raise UserError(
            f"{path} was trained on different data ({saved.name}): "
            f"{'; '.join(differing)}. Pass the original data, or start a new run."
        )
    return warnings


def stopped(request: StopRequest) -> int:
    """Says that nothing was learned; returns the exit code."""
    terminal.say("\nStopped before the first update.")
    return request.exit_code


def train(session: Session, request: StopRequest) -> int:
    """Trains until the end or an interruption; returns the exit code.

    A signal at any time is a request: what was learned is saved before it is obeyed.
    """
    first = session.step
    if request.anywhere():
        return stopped(request)
    advance, arrays = session.compile()
    bar = terminal.Bar(session.done, session.task.unit)
    with contextlib.closing(bar):
        loop(session, advance, arrays, bar, request)
    if request and session.step == first:
        return stopped(request)
    session.save()
    if request.signal != signal.SIGTERM:
        messages.finish(session, interrupted=bool(request))
    diverged = (
        request.signal != signal.SIGTERM
        and session.done >= 1
        and not bar.loss <= session.first_loss(advance, arrays)
    )
    if diverged:
        terminal.warn(
            "the loss is larger than at the start. Try a smaller --learning-rate or "
            "--clip."
        )
    if request.signal == signal.SIGTERM:
        terminal.say(
            f"\nStopped and saved. To continue: {messages.resume_command(session)}"
        )
        return request.exit_code
    return DIVERGED if diverged else 0


def loop(
    session: Session,
    advance: update.Advance,
    arrays: Any,
    bar: terminal.Bar,
    request: StopRequest,
) -> None:
    """Trains, shows progress, samples and saves until the end or a stop request."""
    options, saved = session.options, time.monotonic()
    if not session.step:
        record.gradients(session)
    with Profile(session.path, options.profile, session.step) as trace:
        while session.running and not request.anywhere():
            before = session.done
            bar.show(session.advance(advance, arrays))
            trace.stop(session.step)
            if crosses(before, session.done, record.TIMES):
                record.gradients(session)
            if session.running and crosses(before, session.done, options.samples):
                messages.glance(session)
            if due(saved, options.save_minutes):
                session.save()
                saved = time.monotonic()


def due(saved: float, minutes: float) -> bool:
    """Whether process 0 finds that it is time for a checkpoint."""
    return processes.on_first(lambda: time.monotonic() - saved > 60 * minutes)


def crosses(before: float, after: float, samples: int) -> bool:
    """Whether a sample is due: `samples` of them divide the training evenly.

    Example:
      >>> crosses(0.4, 0.6, samples=1), crosses(0.5, 0.6, samples=1)
      (True, False)
    """
    return int(before * (samples + 1)) < int(after * (samples + 1))
