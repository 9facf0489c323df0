"""Several seeds of one task, trained at once in one compiled program.

Learners get a first axis, over which the updates are mapped. Each seed has its own
folder, and its result equals that of a run alone, up to rounding.
"""

import collections
import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.errors import UserError
from experiments.run import (
    devices,
    folder,
    messages,
    record,
    terminal,
    train,
    update,
)
from experiments.run.session import Session, agreed
from experiments.run.task import Stream, Task
from jrnn.training import batches
from jrnn.training.checkpoints import CheckpointError
from jrnn.training.stopping import StopRequest
from jrnn.types import Array

RECENT = 10  # calls over which the last loss is averaged


@dataclasses.dataclass
class Group:
    """Sessions that differ in their seed, and their learners as one."""

    sessions: list[Session]
    learners: update.Learner

    @classmethod
    def of(cls, sessions: Sequence[Session]) -> "Group":
        """Joins the learners of sessions."""
        return cls(list(sessions), join([session.learner for session in sessions]))

    def compile(self) -> tuple[update.Advance, Any]:
        """Compiles the updates, and copies the data to the devices."""
        first = self.sessions[0]
        arrays = batches.replicate(first.data.arrays, first.mesh)
        how = first.task, first.recipe, first.model, first.split
        advance = update.make_advance(*how, many=True)
        with terminal.taking("compiling"):
            nothing = self.block()._replace(size=np.int32(0))
            self.learners, _ = advance(self.learners, nothing, arrays)
            jax.block_until_ready(self.learners)
        return advance, arrays

    def block(self) -> update.Block:
        """Returns the next updates, with the seeds of all sessions."""
        seeds = np.stack([session.seed for session in self.sessions])
        return self.sessions[0].block()._replace(seed=seeds)

    def advance(self, advance: update.Advance, arrays: Any) -> list[Any]:
        """Runs one call, and records the metrics of each session."""
        block, began = self.block(), time.monotonic()
        self.learners, reports = advance(self.learners, block, arrays)
        rows = zip(*(np.asarray(value).tolist() for value in reports), strict=True)
        seconds = agreed(time.monotonic() - began)
        self.part()
        return [
            session.record(int(block.size), row, seconds)
            for session, row in zip(self.sessions, rows, strict=True)
        ]

    def part(self) -> None:
        """Gives each session its learner."""
        for index, session in enumerate(self.sessions):
            session.learner = _pick(self.learners, index)

    def first_losses(self, advance: update.Advance, arrays: Any) -> list[float]:
        """Returns the loss of the first update of each run, computed again.

        They are infinite if the weights that they started from are gone or changed.
        """
        try:
            start = join([session.begin_again() for session in self.sessions])
        except UserError:
            return [math.inf] * len(self.sessions)
        zero, seeds = np.float32(0), self.block().seed
        block = update.Block(np.int32(0), np.int32(1), zero, zero, seeds)
        return np.asarray(advance(start, block, arrays)[1].loss).tolist()


def join(learners: Sequence[update.Learner]) -> update.Learner:
    """Returns one learner with a first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *learners)


@jax.jit
def _pick(learners: update.Learner, index: Array) -> update.Learner:
    return jax.tree.map(lambda leaf: leaf[index], learners)


def run_until(
    request: StopRequest, task: Task, options: Sequence[Any], olds: Sequence[Any]
) -> list[int]:
    """Starts or resumes runs that differ in their seed; returns their exit codes.

    Raises:
      UserError: If they cannot be trained together, or an option is wrong.
    """
    try:
        return _run_until(request, task, options, olds)
    except CheckpointError as error:
        raise UserError(str(error)) from None


def _run_until(
    request: StopRequest, task: Task, options: Sequence[Any], olds: Sequence[Any]
) -> list[int]:
    data = task.load(options[0])
    if isinstance(data.arrays, Stream):
        raise UserError(
            "streamed data can only train one seed at a time: omit --vmap-seeds."
        )
    sessions = [Session(one.resume or one.out, task, one, data) for one in options]
    with contextlib.ExitStack() as stack:
        for session, old in zip(sessions, olds, strict=True):
            stack.enter_context(session.opened())
            session.together = len(sessions)
            if old is None:
                folder.create(session.path, task, session.options, data)
            else:
                train.check_resumed(session.path, task, old, session.options, data)
                session.restore()
                folder.trim_records(session.path, session.step)
                folder.rewrite_options(session.path, session.options)
            folder.record_session(session.path, devices.describe(session.mesh))
        places = sorted({session.step for session in sessions})
        if len(places) > 1:
            raise UserError(
                f"the seeds were stopped after {' and '.join(map(str, places))} "
                "updates: continue them one at a time, without --vmap-seeds."
            )
        messages.introduce(sessions[0], [])
        terminal.fact("seeds", ", ".join(str(one.seed) for one in options))
        return _train(Group.of(sessions), request)


def _train(group: Group, request: StopRequest) -> list[int]:
    first, began = group.sessions[0], group.sessions[0].step
    advance, arrays = group.compile()
    bar = terminal.Bar(first.done, first.task.unit)
    with contextlib.closing(bar):
        last = _loop(group, advance, arrays, bar, request)
    if request and first.step == began:
        return [train.stopped(request)] * len(group.sessions)
    for session in group.sessions:
        session.save()
    if request.signal == signal.SIGTERM:
        return [request.exit_code] * len(group.sessions)
    for session in group.sessions:
        messages.finish(session, interrupted=bool(request))
    if first.done < 1:
        return [0] * len(group.sessions)
    start = group.first_losses(advance, arrays)
    return [
        0 if loss <= other else train.DIVERGED
        for loss, other in zip(last, start, strict=True)
    ]


def _loop(
    group: Group,
    advance: update.Advance,
    arrays: Any,
    bar: terminal.Bar,
    request: StopRequest,
) -> list[float]:
    """Trains until the end or a stop request; returns the last losses, averaged."""
    first, saved = group.sessions[0], time.monotonic()
    losses: collections.deque[list[float]] = collections.deque(maxlen=RECENT)
    while first.running and not request.anywhere():
        before = first.done
        now = group.advance(advance, arrays)
        losses.append([one.loss for one in now])
        bar.show(now[0])
        for session in group.sessions:
            if train.crosses(before, first.done, record.TIMES):
                record.gradients(session)
            if first.running and train.crosses(
                before, first.done, first.options.samples
            ):
                messages.glance(session)
        if train.due(saved, first.options.save_minutes):
            for session in group.sessions:
                session.save()
            saved = time.monotonic()
    return np.mean(losses, axis=0).tolist()
