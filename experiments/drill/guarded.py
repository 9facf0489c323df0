"""Runs an action in a child process, and measures what it took."""

import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

SECONDS = 1.0  # of a processor
MIB = 200
PATIENCE = 60.0  # seconds until an action counts as hanging


class Spent(NamedTuple):
    """What an action did, in a process of its own."""

    value: Any  # what it returned; None if it ended otherwise
    error: str  # type and message of what it raised
    seconds: float  # of a processor
    mib: float  # of memory beyond what the process had before
    killed: str  # why the process did not end by itself

    def fault(self, name: str) -> str | None:
        """Says what went wrong, if the action should refuse something quickly."""
        if self.killed or not self.error:
            return f"{name}: {self.killed or 'it was accepted'}"
        if self.seconds > SECONDS or self.mib > MIB:
            return f"{name}: took {self.seconds:.2f} s and {self.mib:.0f} MiB"
        return None


def run(action: Callable[[], Any]) -> Spent:
    """Runs an action in a fork of this process, which must not have used a device.

    Args:
      action: Returns a value that JSON can hold.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _in_child(action, write)
    os.close(write)
    ready, _, _ = select.select([read], [], [], PATIENCE)
    if not ready:
        os.kill(child, signal.SIGKILL)
    with open(read, "rb") as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    if not ready:
        return Spent(None, "", PATIENCE, 0, "it did not end")
    if not text:
        return Spent(None, "", 0, 0, f"the process ended with status {status}")
    value, error, seconds, mib = json.loads(text)
    return Spent(value, error, seconds, mib, "")


def _in_child(action: Callable[[], Any], write: int) -> None:
    """Runs the action, reports and ends the process."""
    before, began = _resident(), time.process_time()
    value, error = None, ""
    try:
        value = action()
    except BaseException as caught:
        error = f"{type(caught).__name__}: {caught}"[:500]
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report = [value, error, seconds, max(0.0, peak - before)]
    os.write(write, json.dumps(report).encode())
    os._exit(0)


def _resident() -> float:
    """Returns the resident memory of this process in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
