"""A process that is killed while it saves or deletes loses nothing it acknowledged."""

import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np

from jrnn.training.checkpoints import files, folder as folders

SAVER = pathlib.Path(__file__).parent / "saver.py"


def kill(folder, delay):
    """Runs the saver for a while, kills it, and returns the last acknowledged step."""
    command = [sys.executable, str(SAVER), str(folder)]
    env = {"PYTHONPATH": str(SAVER.parents[2]), "JAX_PLATFORMS": "cpu", "PATH": ""}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        words = process.stdout.read().split()
    return max([int(word) for word in words if word.isdigit()], default=0)


def check(folder):
    """Returns the newest step, after reading every checkpoint that is offered."""
    steps = folders.list_steps(folder)
    for step in steps:
        _, contents = files.read(folders.step_path(folder, step), step, None, 1 << 30)
        (array,) = files.parse(contents).values()
        np.testing.assert_array_equal(array, step)
    return max(steps, default=0)


def test_kills_lose_nothing_that_was_acknowledged(tmp_path):
    rng, last = random.Random(0), 0
    for kills in range(30):
        if kills >= 3 and last > 3:  # a slow machine saves less before a kill
            break
        last = max(last, kill(tmp_path, rng.uniform(0, 0.1)))
        newest = check(tmp_path)
        assert last <= newest <= last + 1
        last = newest
    assert last > 3
