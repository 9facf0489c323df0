"""Two processes on this machine that train together: rows 55 to 59."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.drill import launch
from experiments.drill.changes import TEXT
from experiments.drill.continuing import losses
from experiments.drill.crashes import unreadable
from experiments.drill.rows import Result, attempt, count
from jrnn.training import peers
from jrnn.training.checkpoints import folder as folders

BOTH: list[dict[str, Any]] = [{}, {}]
WITHIN = 30  # seconds after which a process has noticed that the other is lost


def as_one(folder: Path, quick: bool) -> Result:
    """Row 55: 5 rows, of which the four devices compute 2, 2, 1 and none."""
    steps, worst = 6 if quick else 50, 0.0

    def trial(rows: int) -> str | None:
        nonlocal worst
        settings = {"steps": steps, "every": 25, "batch_size": rows}
        two, one = folder / f"two{rows}", folder / f"one{rows}"
        ended = launch.train_together(two, BOTH, devices=2, **settings)
        ended.append(launch.train(one, **settings))
        if any(each.code for each in ended):
            return str([(each.code, each.err[-300:]) for each in ended])
        worst = max(worst, float(np.max(np.abs(losses(two) / losses(one) - 1))))
        return None if worst < 1e-6 else f"losses differ by {worst}"

    trials = [attempt(trial, rows) for rows in ((5,) if quick else (5, 8))]
    return count(
        trials, f"Losses of {steps} updates differ by at most {worst:.1e}, relatively."
    )


def lost(folder: Path, quick: bool) -> Result:
    """Row 56: one kills itself or hangs, and both are started again.

    If it is process 0, JAX may end the other before the message does.
    """
    settings: dict[str, Any] = {"steps": 20, "every": 5, "devices": 2}
    waited: list[float] = []

    def trial(victim: int, fault: str) -> str | None:
        own, port = folder / f"{victim}{fault}", launch.free_port()
        shared = settings | {"processes": 2, "port": port, "pause": 0.05}
        shared |= {"victim": victim, fault: 12}
        started = [
            launch.start(launch.TRAINER, launch.describe(own, process=i, **shared))
            for i in range(2)
        ]
        began = time.monotonic()
        if fault == "kill_at":
            started[victim].wait(launch.LIMIT)
            began = time.monotonic()
        ended = launch.end(started[1 - victim], began, limit=launch.LIMIT)
        started[victim].kill()
        launch.end(started[victim], began)
        codes = (peers.LOST, -6) if victim == 0 else (peers.LOST,)
        if ended.code not in codes or (ended.code > 0 and "error: " not in ended.err):
            return f"exit code {ended.code}: {ended.err[-300:]}"
        if fault == "kill_at":
            waited.append(ended.seconds)
            if ended.seconds > WITHIN:
                return f"it took {ended.seconds:.0f} s"
        if unreadable(own) or folders.list_steps(own)[-1] != 10:
            return f"checkpoints {folders.list_steps(own)}"
        again = launch.train_together(own, BOTH, **settings)
        if any(each.code for each in again):
            return str([(each.code, each.err[-300:]) for each in again])
        whole = losses(folder / "whole")
        off = float(np.max(np.abs(losses(own) - whole)))
        return None if off < 1e-6 else f"losses differ by {off}"

    launch.train(folder / "whole", steps=20, every=5)
    faults = [(1, "kill_at"), (0, "kill_at"), (1, "stop_at")]
    trials = [attempt(trial, *fault) for fault in faults[: 1 if quick else 3]]
    return count(trials, f"The other ended after {max(waited, default=0):.0f} s.")


def no_coordinator(folder: Path, quick: bool) -> Result:
    """Row 57: the others never start, or wait at another port."""

    def trial(process: int) -> str | None:
        shared = {"processes": 2, "port": launch.free_port(), "patience": 5}
        ended = launch.train(folder / "run", process=process, limit=90, **shared)
        if ended.code in (0, -9):
            return f"exit code {ended.code} after {ended.seconds:.0f} s"
        if folders.list_steps(folder / "run"):
            return "it saved"
        told = "DEADLINE_EXCEEDED" in ended.err or "timed out" in ended.err.lower()
        return None if told else ended.err[-300:]

    return count([attempt(trial, n) for n in ((1,) if quick else (1, 0))])


def disagree(folder: Path, quick: bool) -> Result:
    """Row 58: process 1 differs."""
    corpus = folder / "other.txt"
    corpus.write_text(TEXT)

    def trial(changes: dict[str, Any], *words: str) -> str | None:
        own = folder / "-".join(changes)
        ended = launch.train_together(own, [{}, changes], steps=5, devices=2)
        for each in ended:
            lacking = [word for word in words if word not in each.err]
            if each.code != 2 or "READY" in each.out or lacking:
                return f"{changes}: exit code {each.code}: {each.err[-400:]}"
        return None

    cases: list[tuple[dict[str, Any], str]] = [
        ({"seed": 7, "hidden_size": 9}, "facts.config.hidden_size is 9 instead of 6"),
        ({"corpus": str(corpus)}, "facts.data is"),
        ({"steps": 6}, "facts.config.steps is 6 instead of 5"),
        ({"rate": 0.5}, "facts.config.rate is 0.5"),
    ]
    return count([attempt(trial, *case) for case in cases[: 1 if quick else 4]])


def slow_save(folder: Path, quick: bool) -> Result:
    """Row 59: one process sleeps before it saves, shortly and for long."""

    def trial(seconds: float) -> str | None:
        own = folder / str(seconds)
        shared = {"steps": 6, "every": 3, "devices": 2, "slow": seconds}
        ended = launch.train_together(own, BOTH, **shared)
        if any(each.code for each in ended):
            return str([(each.code, each.err[-300:]) for each in ended])
        steps = folders.list_steps(own)
        return unreadable(own) or (None if steps == [3, 6] else f"checkpoints {steps}")

    return count([attempt(trial, s) for s in ((1.0,) if quick else (2.0, 20.0))])
