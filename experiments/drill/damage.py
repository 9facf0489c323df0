"""Checkpoints that were damaged, moved or joined by other files: rows 11 to 17."""

import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax

import jrnn
from experiments.drill import launch
from experiments.drill.rows import Result, attempt, count, refused
from jrnn.training import checkpoints
from jrnn.training.checkpoints import (
    CheckpointError,
    Checkpoints,
    NewerFormatError,
    files,
    folder as folders,
    manifest,
)

FRACTIONS = (0.0, 0.1, 0.5, 0.99)
MODEL = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(5)), jrnn.Dense(3))


class State(NamedTuple):
    """A small state of a training loop."""

    params: Any
    opt_state: Any
    state: Any
    key: Any


def state(seed: int) -> State:
    """Returns a state in which every leaf depends on the seed."""
    key = jax.random.key(seed)
    params = jax.tree.map(lambda a: a + seed, MODEL.init(key, 4))
    moments = jax.tree.map(lambda a: a + seed, optax.adam(0.1).init(params))
    carried = MODEL.initial_state(params, (2,))
    return State(params, moments, jax.tree.map(lambda a: a + seed, carried), key)


def saved(folder: Path, *steps: int) -> Path:
    """Returns a folder with checkpoints of these steps."""
    with Checkpoints(folder, {"config": {"hidden_size": 5}}, keep=9) as store:
        for step in steps:
            store.save(step, state(step))
    return folder


def resumed(folder: Path) -> tuple[int, list[str]]:
    """Restores; returns the step and notes. Other values than were saved raise."""
    with (
        warnings.catch_warnings(),
        Checkpoints(folder, {"config": {"hidden_size": 5}}) as store,
    ):
        warnings.simplefilter("ignore")
        found = store.restore(state(0))
    if found is None:
        return 0, []
    want = checkpoints.fingerprint(state(found.step))
    if checkpoints.fingerprint(found.tree) != want:
        raise ValueError(f"step {found.step} was restored with other values")
    return found.step, found.notes


def hurt(
    folder: Path, name: str, damage: Callable[[Path], None], *words: str
) -> str | None:
    """Damages a file of the newest of two checkpoints, and of the only one."""

    def damaged(good: str) -> Path:
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / good, copy)
        damage(folders.step_path(copy, 2) / name)
        return copy

    step, notes = resumed(damaged("good1"))
    if step != 1 or not any(all(w in note for w in words) for note in notes):
        return f"{name}: resumed step {step} with {notes}"
    return refused(lambda: resumed(damaged("good")), CheckpointError, *words)


def _each_file(folder: Path) -> list[str]:
    saved(folder / "good1", 1, 2)
    saved(folder / "good", 2)
    return sorted(p.name for p in folders.step_path(folder / "good", 2).iterdir())


def truncated(folder: Path, quick: bool) -> Result:
    """Row 11."""
    names = _each_file(folder)

    def cut(fraction: float) -> Callable[[Path], None]:
        return lambda path: os.truncate(path, int(fraction * path.stat().st_size))

    trials = [
        attempt(hurt, folder, n, cut(f), n)
        for n in names
        for f in (FRACTIONS[2:3] if quick else FRACTIONS)
    ]
    return count(trials, f"{len(names)} files, each in two folders.")


def flipped(folder: Path, quick: bool) -> Result:
    """Row 12: random bits, so that larger files are hit more often; and each file."""
    names, rng = _each_file(folder), random.Random(0)
    sizes = [(folders.step_path(folder / "good", 2) / n).stat().st_size for n in names]
    number = len(names) if quick else 50
    chosen = [*names, *rng.choices(names, sizes, k=number - len(names))]

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)

    return count([attempt(hurt, folder, n, flip, n) for n in chosen])


def deleted(folder: Path, quick: bool) -> Result:
    """Row 13."""
    del quick
    names = _each_file(folder)
    return count([attempt(hurt, folder, n, Path.unlink, n) for n in names])


def beside_others(folder: Path, quick: bool) -> Result:
    """Row 14."""
    del quick
    run = saved(folder / "run", 1, 2)
    (run / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (run / "step_abc").mkdir()
    (run / "step_3").mkdir()
    (run / "step_00000009").write_text("a file")
    (run / "step_00000010.bak").mkdir()
    (run / "step_00000011").symlink_to(run)
    (run / "step_00000012").symlink_to(folders.step_path(run, 2))
    (run / "loop").symlink_to("loop")
    (run / "notes \N{SNOWMAN}.txt").write_text("mine")
    before = sorted(p.name for p in run.iterdir())

    def trial() -> str | None:
        found = resumed(run)
        after = sorted(p.name for p in run.iterdir())
        if found != (2, []) or after != before:
            return f"resumed {found}; {set(before) ^ set(after)} changed"
        with Checkpoints(run, {"config": {"hidden_size": 5}}, keep=1) as store:
            store.restore(state(0))
            store.save(3, state(3))
        gone = set(before) - {p.name for p in run.iterdir()}
        two = {"step_00000001", "step_00000002"}
        return None if gone == two else f"{gone} is gone"

    return count([attempt(trial)], f"{len(before) - 3} other entries.")


def shared(folder: Path, quick: bool) -> Result:
    """Row 15."""

    def trial(number: int) -> str | None:
        run = folder / str(number)
        first = launch.start(
            launch.TRAINER, launch.describe(run, steps=10**6, pause=0.1)
        )
        try:
            assert first.stdout is not None
            while first.stdout.readline().strip() not in ("READY", ""):
                pass
            second = launch.here(run, steps=5)
            owner = f"in use by process {first.pid}"
            if second.code != 2 or owner not in second.err:
                return f"the second: {second}"
        finally:
            first.kill()
            first.communicate()
        third = launch.here(run, steps=5)
        return None if third.code == 0 else f"after the kill: {third.err}"

    return count([attempt(trial, n) for n in range(1 if quick else 5)])


def times_differ(folder: Path, quick: bool) -> Result:
    """Row 16."""
    del quick
    run = saved(folder / "run", 1, 2, 30)

    def trial(times: dict[int, float]) -> str | None:
        for step, moment in times.items():
            path = folders.step_path(run, step)
            for each in (*path.iterdir(), path):
                os.utime(each, (moment, moment))
        found = resumed(run)
        return None if found == (30, []) else f"{times}: resumed {found}"

    cases = [{1: 3e9, 2: 2e9, 30: 1e9}, {1: 1e9, 2: 1e9, 30: 1e9}]
    cases += [{1: 1e9, 2: 2e9, 30: 0.0}]
    return count([attempt(trial, t) for t in cases])


def newer_format(folder: Path, quick: bool) -> Result:
    """Row 17."""
    del quick
    run = saved(folder / "run", 1, 2)
    path = folders.step_path(run, 2) / files.MANIFEST
    content = manifest.decode(path.read_bytes())
    version = manifest.FORMAT + 1
    path.write_bytes(manifest.encode(content, version))
    words = (f"format {version}", f"format {manifest.FORMAT}")
    trials = [
        refused(lambda: resumed(run), NewerFormatError, *words),
        refused(lambda: checkpoints.inspect(run), NewerFormatError, *words),
        refused(lambda: checkpoints.load(run, state(0)), NewerFormatError, *words),
    ]
    left = folders.list_steps(run)
    return count([*trials, None if left == [1, 2] else f"{left} is left"])
