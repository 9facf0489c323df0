"""Kills, signals and full disks: rows 1 to 10."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.drill import launch
from experiments.drill.rows import Result, attempt, count, refused
from jrnn.training import checkpoints
from jrnn.training.checkpoints import CheckpointError, files, folder as folders

PAUSE = 0.02  # seconds per update of runs that are killed
DISK = 2 << 20  # bytes


def killed_in_a_save(folder: Path, quick: bool) -> Result:
    """Row 1."""
    return _kill_savers(folder, "save", quick, "a save")


def killed_in_the_background(folder: Path, quick: bool) -> Result:
    """Row 2."""
    return _kill_savers(folder, "background", quick, "a save")


def killed_in_a_deletion(folder: Path, quick: bool) -> Result:
    """Row 3."""
    return _kill_savers(folder, "delete", quick, "a deletion")


def killed_in_the_first_save(folder: Path, quick: bool) -> Result:
    """Row 4: and the program says that it starts from the beginning."""
    found = _kill_savers(folder / "savers", "first", quick, "the first save")
    part = folder / "run" / ".part_00000005_0badcafe"
    part.mkdir(parents=True)
    (part / "params.safetensors").write_bytes(b"half")
    ended = launch.train(folder / "run", steps=5)
    good = ended.code == 0 and "starting at step 0" in ended.err and not part.exists()
    failures = found.failures + (not good)
    note = found.note if good else ended.err
    return Result(failures == 0, found.trials + 1, failures, note)


def _kill_savers(folder: Path, mode: str, quick: bool, what: str) -> Result:
    kills = 8 if quick else 100
    ended = launch.run(
        "experiments.drill.killing", str(folder), str(kills), mode, "0", limit=1500
    )
    if ended.code:
        return Result(False, kills, kills, ended.err[-500:])
    found = ended.result
    note = (
        f"{found['acknowledged']} saves were acknowledged, and {found['within']} kills "
        f"left what {what} had begun."
    )
    failures = found["failures"]
    return Result(not failures, kills, len(failures), failures[0] if failures else note)


def killed_once(folder: Path, quick: bool) -> Result:
    """Row 5."""
    return _kill_runs(folder, 1, runs=2 if quick else 20, steps=30)


def killed_five_times(folder: Path, quick: bool) -> Result:
    """Row 6."""
    return _kill_runs(folder, 5, runs=1 if quick else 4, steps=60)


def _kill_runs(folder: Path, kills: int, runs: int, steps: int) -> Result:
    """Kills runs, resumes them, and compares hashes with a run without kills."""
    rng, settings = random.Random(0), {"steps": steps, "every": 4}
    whole = launch.train(folder / "whole", **settings)
    if whole.code:
        return Result(False, 1, 1, whole.err[-500:])

    def trial(number: int) -> str | None:
        own, stopped = folder / str(number), []
        for _ in range(kills):
            process = launch.start(
                launch.TRAINER, launch.describe(own, **settings, pause=PAUSE)
            )
            _wait_for(process, "READY")
            time.sleep(rng.uniform(0, 1.2 * PAUSE * steps / kills))
            process.kill()
            process.communicate()
            stopped.append(len(_losses(own)))
        ended = launch.train(own, **settings)
        if ended.code:
            return ended.err[-500:]
        wrong = [
            name for name, value in whole.result.items() if ended.result[name] != value
        ]
        return f"killed at {stopped}: {wrong} differ" if wrong else None

    trials = [attempt(trial, n) for n in range(runs)]
    return count(trials, f"{kills * runs} kills of runs of {steps} updates.")


def signaled(folder: Path, quick: bool) -> Result:
    """Row 7."""
    rng, slowest = random.Random(1), 0.0

    def trial(number: int, sent: int, code: int) -> str | None:
        nonlocal slowest
        own = folder / str(number)
        settings = {"steps": 400, "every": 1000, "pause": PAUSE}
        process = launch.start(launch.TRAINER, launch.describe(own, **settings))
        _wait_for(process, "READY")
        time.sleep(rng.uniform(0, 1))
        process.send_signal(sent)
        ended = launch.end(process, time.monotonic(), limit=30)
        slowest = max(slowest, ended.seconds)
        if ended.code != code or ended.seconds > 30:
            return f"exit code {ended.code}, {ended.seconds:.1f} s: {ended.err[-300:]}"
        step, saved = ended.result["step"], folders.list_steps(own)
        if saved != [step] or len(_losses(own)) != step:
            return f"stopped at step {step} with checkpoints {saved}"
        return None

    kinds = [(signal.SIGTERM, 75), (signal.SIGINT, 130)]
    number = 2 if quick else 24
    trials = [attempt(trial, i, *kinds[i % 2]) for i in range(number)]
    return count(trials, f"The slowest took {slowest:.1f} s from the signal on.")


def signaled_twice(folder: Path, quick: bool) -> Result:
    """Row 8."""
    rng = random.Random(2)

    def trial(number: int, first: int, second: int) -> str | None:
        own = folder / str(number)
        settings = {"steps": 4000, "every": 1, "pause": 0.3}
        process = launch.start(launch.TRAINER, launch.describe(own, **settings))
        _wait_for(process, "READY")
        time.sleep(rng.uniform(0, 1))
        process.send_signal(first)
        time.sleep(rng.uniform(0.01, 0.2))
        process.send_signal(second)
        ended = launch.end(process, time.monotonic(), limit=30)
        if ended.code not in (-second, 75, 130):
            return f"exit code {ended.code}: {ended.err[-300:]}"
        if ended.code == -second and ended.seconds > 2:
            return f"it took {ended.seconds:.1f} s"
        return unreadable(own)

    pairs = [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)]
    pairs += [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)]
    number = 2 if quick else 20
    return count([attempt(trial, i, *pairs[i % 4]) for i in range(number)])


def unreadable(folder: Path) -> str | None:
    """Returns what is wrong with a checkpoint that is listed."""
    for step in folders.list_steps(folder):
        try:
            files.read(folders.step_path(folder, step), step, None, 1 << 30)
        except CheckpointError as error:
            return f"step {step}: {error}"
    return None


def full_disk(folder: Path, quick: bool) -> Result:
    """Row 9."""

    def trial(number: int, background: bool) -> str | None:
        tree = {f"part{i}": np.ones((64, 1024 - 128 * number)) for i in range(2)}
        with mounted(folder / "disk", f"size={DISK}") as disk:
            store = checkpoints.Checkpoints(disk / "run", keep=9, background=background)
            saved = 0
            try:
                for step in range(1, 9):
                    store.save(step, {name: a * step for name, a in tree.items()})
                    saved = step
                store.wait()
                return "the disk was not full"
            except CheckpointError as error:
                size = sum(array.nbytes for array in tree.values())
                lacking = [w for w in (str(disk), str(size)) if w not in str(error)]
            finally:
                store.close()
            if lacking:
                return f"the message lacks {lacking}"
            done = saved - background
            with checkpoints.Checkpoints(disk / "run", keep=9) as store:
                steps, found = store.steps(), store.restore(tree)
            left = sorted(p.name for p in (disk / "run").iterdir())
            if steps != list(range(1, done + 1)) or left[1:] != [
                f"step_{step:08d}" for step in steps
            ]:
                return f"{done} steps were saved, and {left} is there"
            if not (found and np.all(found.tree["part1"] == done)):
                return "the newest checkpoint has other values"
            return None

    trials = [
        attempt(trial, n, background)
        for n in range(1 if quick else 5)
        for background in (False, True)
    ]
    return count([*trials, attempt(_full_run, folder)])


def _full_run(folder: Path) -> str | None:
    """Runs the training program on the full disk."""
    with mounted(folder / "disk", f"size={DISK}") as disk:
        (disk / "other").write_bytes(bytes(DISK - (96 << 10)))
        ended = launch.train(disk / "run", steps=9, every=1, hidden_size=24)
        if ended.code != 2 or "No space left" not in ended.err:
            return f"exit code {ended.code}: {ended.err[-300:]}"
        if ended.saved and folders.list_steps(disk / "run")[-1] < ended.saved[-1]:
            return "an acknowledged checkpoint was lost"
        (disk / "other").unlink()
        again = launch.train(disk / "run", steps=9, every=1, hidden_size=24)
        return None if again.code == 0 else again.err[-300:]


def read_only(folder: Path, quick: bool) -> Result:
    """Row 10."""
    del quick
    with mounted(folder / "disk", f"size={DISK}") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

        def opened() -> None:
            checkpoints.Checkpoints(disk / "run")

        def program() -> str | None:
            ended = launch.here(disk / "run", steps=5)
            good = ended.code == 2 and "cannot write checkpoints" in ended.err
            return None if good and "READY" not in ended.out else str(ended)

        words = ("cannot write checkpoints", str(disk), "another folder")
        return count([refused(opened, CheckpointError, *words), attempt(program)])


@contextlib.contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    """Mounts a small disk in memory, which needs the rights to do so."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if shutil.which("mount") is None or os.geteuid():
        raise PermissionError("this row mounts a disk: run it as root")
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def _wait_for(process: "subprocess.Popen[str]", word: str) -> None:
    """Reads the output of a process up to a line; a silent one is killed."""
    assert process.stdout is not None
    watch = threading.Timer(launch.LIMIT, process.kill)
    watch.start()
    for line in process.stdout:
        if line.strip() == word:
            break
    else:
        raise RuntimeError(f"the program ended: {process.communicate()[1][-500:]}")
    watch.cancel()


def _losses(folder: Path) -> list[Any]:
    """Returns the lines of the log that are complete."""
    file = folder / "losses.jsonl"
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(True) if line.endswith("\n")]
