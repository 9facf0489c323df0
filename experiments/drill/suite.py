"""Rows whose trials are tests: a selection of them runs in a process of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from experiments.drill.launch import REPOSITORY
from experiments.drill.rows import Check, Result

LIMIT = 6 * 3600  # seconds
_SHOWN = 300  # characters of a failure


def suite(*words: str, quick: tuple[str, ...] | None = None, **settings: str) -> Check:
    """Returns a check that runs tests of this repository; a skipped test is no trial.

    Args:
      *words: Arguments of pytest: files, and `-k` with words of names.
      quick: Other arguments for a quick run.
      **settings: Variables of the environment.
    """

    def check(folder: Path, fast: bool) -> Result:
        chosen = quick if fast and quick is not None else words
        report = folder / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-n0",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        command += [f"--junitxml={report}", f"--basetemp={folder / 'tests'}", *chosen]
        began = time.monotonic()
        ended = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=os.environ | {"JAX_PLATFORMS": "cpu"} | settings,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        said = f"pytest: {(ended.stdout + ended.stderr)[-_SHOWN:]}"
        if not report.exists():
            return Result(False, 0, 0, said)
        found = read(report)
        if found.note:
            return found
        if ended.returncode or not found.trials:  # an error outside of the tests
            return found._replace(passed=False, note=said)
        shown = f"`pytest {' '.join(chosen)}`, {time.monotonic() - began:.0f} s"
        return found._replace(note=shown)

    return check


def read(report: Path) -> Result:
    """Counts the tests of a report; the note is the first failure, if there is one."""
    cases = [*ElementTree.parse(report).getroot().iter("testcase")]
    ran = [case for case in cases if case.find("skipped") is None]
    failed = [
        (case, fault)
        for case in ran
        for fault in [*case.findall("failure"), *case.findall("error")][:1]
    ]
    note = ""
    if failed:
        case, fault = failed[0]
        note = f"{case.get('name')}: {fault.get('message', '')}"[:_SHOWN]
    return Result(not failed, len(ran), len(failed), note)
