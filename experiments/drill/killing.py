"""Kills processes that save checkpoints: `killing.py FOLDER KILLS MODE SEED`.

    mode         what is killed
    save         a loop that saves
    background   a loop that saves in the background
    delete       a loop that saves, when it begins to delete an old checkpoint
    first        the first save, each time in another folder

Each saver is a fork of this process. So JAX is imported once, and a kill takes a
moment. Nothing here may start a backend of JAX before a fork.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

from jrnn.training.checkpoints import Checkpoints, files, folder as folders

PARTS = {"save": (3, 96), "background": (3, 96), "delete": (9, 4), "first": (3, 96)}
KEEP = {"save": 2, "background": 2, "delete": 3, "first": 2}


def main(folder: Path, kills: int, mode: str, seed: int) -> None:
    """Kills savers and prints what was found, as one line of JSON."""
    rng = random.Random(seed)
    longest = 0.002 if mode == "delete" else interval(folder / "trial", mode)
    longest *= {"save": 3, "background": 3}.get(mode, 1)
    failures, acknowledged, within = [], 0, 0
    last = KEEP[mode] if mode == "delete" else 0  # steps before the first kill
    for number in range(kills):
        own = folder / str(number) if mode == "first" else folder
        last = 0 if mode == "first" else last
        acks = kill(own, mode, rng.uniform(0, longest))
        acknowledged += len(acks)
        last = max([last, *acks])
        wrong, newest = check(own)
        within += any(own.glob(".part_*" if mode != "delete" else ".trash_*"))
        if not wrong and not last <= newest <= last + 1:
            wrong = f"step {last} was acknowledged, but the newest is {newest}"
        if not wrong and mode == "first":
            wrong = in_fork(lambda own=own, newest=newest: restart(own, newest))
        if wrong:
            failures.append(f"kill {number + 1}: {wrong}")
        last = newest
    found = {"acknowledged": acknowledged, "within": within, "failures": failures}
    print(json.dumps(found), flush=True)


def interval(folder: Path, mode: str) -> float:
    """Returns the seconds from save to save."""
    read, write = os.pipe()
    process = fork(lambda: save(folder, mode, write))
    os.close(write)
    with os.fdopen(read) as pipe:
        for _ in range(3):
            pipe.readline()
        began = time.monotonic()
        for _ in range(5):
            pipe.readline()
        took = time.monotonic() - began
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return took / 5


def kill(folder: Path, mode: str, delay: float) -> list[int]:
    """Starts a saver and kills it; returns the steps that it acknowledged."""
    read, write = os.pipe()
    process = fork(lambda: save(folder, mode, write))
    os.close(write)
    with os.fdopen(read) as pipe:
        ready = pipe.readline()
        time.sleep(delay)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        lines = [line for line in pipe.read().splitlines(True) if line.endswith("\n")]
    if ready != "READY\n":
        raise RuntimeError("the saver could not start")
    return [int(line) for line in lines]


def save(folder: Path, mode: str, pipe: int) -> None:
    """Saves in a loop, and writes each step that is on the disk to a pipe."""
    number, size = PARTS[mode]
    background = mode == "background"
    with Checkpoints(folder, keep=KEEP[mode], background=background) as store:
        if mode == "delete":
            announce(pipe)
        else:
            os.write(pipe, b"READY\n")
        step = durable = store.step or 0
        while True:
            step += 1
            store.save(step, tree(number, size, step))
            if store.step != durable and mode != "delete":
                durable = store.step or 0
                os.write(pipe, f"{durable}\n".encode())


def announce(pipe: int) -> None:
    """Writes to a pipe when the first checkpoint of several is about to be deleted."""
    prune = folders.prune

    def announced(folder: Path, keep: int) -> None:
        if len(folders.list_steps(folder)) > keep:
            os.write(pipe, b"READY\n")
        prune(folder, keep)

    folders.prune = announced


def tree(number: int, size: int, step: int) -> dict[str, np.ndarray]:
    """Returns arrays whose values show the step."""
    return {
        f"part{i}": np.full((size, size), step + i, np.float32) for i in range(number)
    }


def check(folder: Path) -> tuple[str | None, int]:
    """Reads every checkpoint that is listed; returns a fault and the newest step."""
    steps = folders.list_steps(folder)
    for step in steps:
        try:
            path = folders.step_path(folder, step)
            _, contents = files.read(path, step, None, 1 << 30)
            arrays = files.parse(contents)
            for name, array in arrays.items():
                np.testing.assert_array_equal(array, step + int(name[4:]))
        except Exception as error:
            return f"step {step} cannot be read: {error}", max(steps)
    return None, max(steps, default=0)


def restart(folder: Path, newest: int) -> str | None:
    """Resumes after a kill of the first save."""
    with Checkpoints(folder, keep=2) as store:
        found = store.restore(tree(*PARTS["first"], 0))
        left = [path.name for path in folder.glob(".part_*")]
    if left:
        return f"{left} remained"
    if (found.step if found else 0) != newest:
        return f"resumed {found} instead of step {newest}"
    return None


def in_fork(action: object) -> str | None:
    """Runs a function in another process and returns its text."""
    read, write = os.pipe()
    process = fork(lambda: os.write(write, (action() or "").encode()))  # type: ignore[operator]
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(process, 0)
    return text or (f"it ended with {status}" if status else None)


def fork(action: object) -> int:
    """Starts a process that runs a function and ends."""
    with warnings.catch_warnings():  # JAX warns, but it has not started a thread
        warnings.simplefilter("ignore")
        process = os.fork()
    if process:
        return process
    code = 1
    try:
        action()  # type: ignore[operator]
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
