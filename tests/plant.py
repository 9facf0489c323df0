"""Plants faults one by one in a copy of the package, and runs the tests that must fail.

    python -m tests.plant                    all faults
    python -m tests.plant sequential reset   those whose names hold both words

A fault that the tests let through shows what they do not test. The exit code is the
number of such faults. The table is `tests/faults.py`; a test keeps it in step with the
code.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tests.faults import FAULTS, Fault

ROOT = pathlib.Path(__file__).parent.parent


def plant(fault: Fault, copy: pathlib.Path) -> bool:
    """Plants a fault in a copy of the repository; returns whether the tests notice."""
    path = copy / "jrnn" / fault.file
    sound = path.read_text()
    path.write_text(sound.replace(fault.old, fault.new))
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-x", *_split(fault.tests)]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    finally:
        path.write_text(sound)
    if done.returncode not in (0, 1):
        print(done.stdout[-2000:], done.stderr[-2000:])
        raise SystemExit(f"{fault.name}: pytest ended with {done.returncode}")
    return done.returncode == 1


def main(words: list[str]) -> int:
    """Plants the faults whose names hold all words, and prints what happened."""
    chosen = [f for f in FAULTS if all(word in f.name for word in words)]
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for part in ("jrnn", "tests", "docs"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, copy / part, ignore=ignore)
        shutil.copy(ROOT / "pyproject.toml", copy)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        for fault in chosen:
            caught = plant(fault, copy)
            print(f"{'caught' if caught else 'MISSED'}  {fault.name}", flush=True)
            missed += [] if caught else [fault.name]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} faults were caught.")
    return len(missed)


def _split(tests: str) -> list[str]:
    path, _, words = tests.partition(" -k ")
    return [*path.split(), *(["-k", words.strip("'")] if words else [])]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
