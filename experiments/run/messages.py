"""Prints information about a run before, during and after the training."""

from typing import Any

import jax

from experiments.run import devices, disk, record, terminal
from experiments.run.session import Session
from experiments.run.task import Score, Task
from experiments.run.terminal import amount, clock, fact, number, say


def introduce(session: Session, warnings: list[str]) -> None:
    """Prints the settings of a run."""
    options, data = session.options, session.data
    lengths = [amount(session.minutes, "minute")] if session.minutes else []
    lengths += [amount(session.steps, "update")] if session.steps else []
    size = sum(leaf.size for leaf in jax.tree.leaves(session.learner.params))
    say()
    fact("data", data.name)
    for label, text in data.about.items():
        fact(label, text)
    fact("model", f"{session.task.describe(options)}, {number(size)} parameters")
    fact(
        "training",
        f"{' or '.join(lengths)}, {options.batch_size} rows, Adam "
        f"{options.learning_rate:g}, clip {options.clip:g}",
    )
    fact("devices", devices.describe(session.mesh))
    fact("run", str(session.path))
    if session.step:
        fact("resumed", f"after {amount(session.step, 'update')}")
    for warning in warnings:
        terminal.warn(warning)


def glance(session: Session) -> None:
    """Shows a short sample, and an estimate of the score."""
    params = record.on_one_device(session.learner.params)
    task = session.task
    score = task.glance(session.options, session.model, params, session.data)
    session.keep_best(score, params)
    _show(session, params, score, short=True)


def finish(session: Session, interrupted: bool) -> None:
    """Scores the held-out data and prints how to continue."""
    params, task = record.on_one_device(session.learner.params), session.task
    with terminal.waiting("scoring held-out data") as progress:
        score = task.score(
            session.options, session.model, params, session.data, progress
        )
    estimate = score
    if type(task).glance is not Task.glance:
        estimate = task.glance(session.options, session.model, params, session.data)
    session.keep_best(estimate, params)
    result = {
        "step": session.step,
        "seconds": session.seconds,
        "together": session.together,
        "finished": session.done >= 1,
        "figures": score.figures,
        "words": score.words,
        "baselines": session.data.baselines,
    }
    disk.write_json(session.path / "result.json", result)
    text = _show(session, params, score, short=False)
    if interrupted:
        say("Interrupted. The model is saved.\n")
    fact("held out", score.words)
    fact("trained", trained(session))
    fact("run", str(session.path))
    if text:
        fact("sample", f"python -m experiments sample {session.path}")
    if session.best != next(iter(estimate.figures.values())):
        fact(
            "best", f"before the end: python -m experiments eval {session.path} --best"
        )
    fact("continue", resume_command(session))


def trained(session: Session) -> str:
    """Returns how long a run has trained: `40 updates in 0:03`."""
    return f"{amount(session.step, 'update')} in {clock(session.seconds)}"


def resume_command(session: Session) -> str:
    """Returns the command that continues a run, with twice of what is done."""
    command = f"python -m experiments train {session.task.name} --resume {session.path}"
    if session.done < 1:
        return command
    if session.steps:
        return f"{command} --steps {2 * session.step}"
    return f"{command} --minutes {2 * session.seconds / 60:.3g}"


def _show(session: Session, params: Any, score: Score, short: bool) -> str:
    """Shows a sample, records it and returns it."""
    text = session.task.show(
        session.model, params, session.data.saved, session.step, short
    )
    about = "about " if short else ""
    title = f"after {amount(session.step, 'update')}: held-out {about}{score.words}"
    if text:
        terminal.sample(title, text)
    else:
        say(f"  {title}")
    record.sample(session, score, text)
    return text
