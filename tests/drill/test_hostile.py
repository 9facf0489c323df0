"""The drill of hostile files notices a file that is accepted, slow, large or fatal."""

import re
import signal
import subprocess
import sys

import pytest

from experiments.drill import section_g

ACTIONS = """
import os, signal, sys, time
from experiments.drill import guarded

def spin(seconds):
    while time.process_time() < seconds:
        pass
    raise ValueError

ACTIONS = {
    "accepted": lambda: 3,
    "refused": lambda: int("x"),
    "slow": lambda: spin(time.process_time() + 0.2),
    "large": lambda: int("x" * len(bytearray(b"x") * (201 << 20))),
    "hangs": lambda: time.sleep(9),
    "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
}
guarded.SECONDS = 0.1
for name, action in ACTIONS.items():
    if name == "hangs":
        guarded.PATIENCE = 1.0
    print(guarded.run(action).fault(name))
"""


def test_what_should_not_happen_is_a_fault():
    ended = subprocess.run(
        [sys.executable, "-c", ACTIONS], capture_output=True, text=True, check=True
    )
    accepted, refused, slow, large, hangs, crashes = ended.stdout.splitlines()
    assert accepted == "accepted: it was accepted" and refused == "None"
    assert slow.startswith("slow: took 0.")
    # New memory may take seconds of processor time if there is little left.
    assert re.fullmatch(r"large: took \d+\.\d\d s and 4\d\d MiB", large)
    assert hangs == "hangs: it did not end"
    assert crashes == f"crashes: the process ended with status {signal.SIGSEGV.value}"


@pytest.mark.parametrize("row", [60, 64])
def test_hostile_files_and_configurations_are_refused(row, tmp_path):
    check = next(each.check for each in section_g.ROWS if each.number == row)
    passed, trials, failures, note = check(tmp_path, True)
    assert passed and not failures and trials > 10, note
