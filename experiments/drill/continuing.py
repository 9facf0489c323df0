"""Runs that are resumed elsewhere, at their end or within an epoch: rows 23 to 26."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.drill import damage, launch
from experiments.drill.changes import STEPS, TEXT, contents, parity, runner
from experiments.drill.rows import Result, attempt, count
from jrnn.training.checkpoints import files, folder as folders, manifest


def other_devices(folder: Path, quick: bool) -> Result:
    """Row 23: 5 rows, which 2 and 4 devices cannot divide."""
    whole = launch.train(folder / "whole", steps=50, every=25)
    want = losses(folder / "whole")
    worst = 0.0

    def trial(before: int, after: int) -> str | None:
        nonlocal worst
        own = folder / f"{before}{after}"
        launch.train(own, steps=25, every=25, devices=before)
        ended = launch.train(own, steps=50, every=25, devices=after)
        warned = f"devices was {before} and is now {after}: results may differ"
        if ended.code or warned not in ended.err:
            return f"exit code {ended.code}: {ended.err}"
        found = losses(own)
        off = float(np.max(np.abs(found / want - 1)))
        worst = max(worst, off)
        return None if off < 1e-5 and len(found) == 50 else f"losses differ by {off}"

    pairs = [(1, 2), (4, 1), (2, 4), (1, 4), (2, 1), (4, 2)]
    trials = [attempt(trial, *pair) for pair in pairs[: 1 if quick else 6]]
    trials.append(whole.err if whole.code else None)
    return count(trials, f"Losses differ by at most {worst:.1e}, relatively.")


def losses(folder: Path) -> np.ndarray:
    """Returns the losses of the training program."""
    lines = (folder / "losses.jsonl").read_text().splitlines()
    return np.array([float.fromhex(json.loads(line)[1]) for line in lines])


def another_version(folder: Path, quick: bool) -> Result:
    """Row 24."""
    del quick

    def trial(package: str) -> str | None:
        run = damage.saved(folder / package, 1)
        path = folders.step_path(run, 1) / files.MANIFEST
        content = manifest.decode(path.read_bytes())
        now = content.environment[package]
        old = content.environment | {package: "0.0.1"}
        path.write_bytes(manifest.encode(content._replace(environment=old)))
        step, notes = damage.resumed(run)
        expected = f"{package} was '0.0.1' and is now {now!r}: results may differ"
        good = step == 1 and len(notes) == 1 and notes[0].startswith(expected)
        return None if good else f"{step}, {notes}"

    names = ("jax", "jaxlib", "jrnn", "numpy", "optax", "python")
    return count([attempt(trial, name) for name in names])


def finished(folder: Path, quick: bool) -> Result:
    """Row 25."""
    del quick

    def program() -> str | None:
        own = folder / "loop"
        launch.here(own, steps=STEPS)
        before = contents(own)
        ended = launch.here(own, steps=STEPS)
        good = ended.code == 0 and contents(own) == before
        return None if good else f"exit code {ended.code}, {ended.err}"

    def command() -> str | None:
        options = parity(folder / "run")
        runner("parity", options, stop_after=None)
        before = contents(folder / "run")
        shown = runner("parity", options, stop_after=None)
        good = "This run is finished" in shown and contents(folder / "run") == before
        return None if good else shown

    return count([attempt(program), attempt(command)])


def within_an_epoch(folder: Path, quick: bool) -> Result:
    """Row 26: batches in an order that is drawn anew in each pass over the text."""
    corpus = folder / "short.txt"
    corpus.write_text(TEXT[:150])  # 21 batches
    shared: dict[str, Any] = {"shuffle": True, "corpus": str(corpus), "every": 100}

    def batches(name: str, *stops: int) -> list[str]:
        for stop in stops:
            ended = launch.here(folder / name, steps=stop, **shared)
            if ended.code:
                raise RuntimeError(ended.err)
        lines = (folder / name / "losses.jsonl").read_text().splitlines()
        return [json.loads(line)[2] for line in lines]

    want = batches("whole", 50)

    def trial(number: int, stop: int) -> str | None:
        found = batches(str(number), stop, 50)
        return None if found == want else f"stopped at {stop}: other batches"

    different = None if want[:21] != want[21:42] else "both epochs have one order"
    stops = [13] if quick else [1, 13, 21, 22, 34]
    return count([different, *(attempt(trial, n, s) for n, s in enumerate(stops))])
