"""A process that times one peer: `worker PEER CELL MODE T B D H`.

It prints the time to the first result and the memory of the compiled program. Then it
answers each line {"calls": n, "clock": "wall"} with the seconds of n calls; the clock
"processor" adds up all threads. {"calls": 0} asks for the peak resident memory during
the calls.
"""

import json
import pathlib
import pkgutil
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from experiments.bench.config import Size, split_peer
from experiments.bench.rounds import MARK

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
STATUS = pathlib.Path("/proc/self/status")
CLEAR = pathlib.Path("/proc/self/clear_refs")


def main(peer: str, cell: str, mode: str, *sizes: str) -> None:
    """Answers requests until the input ends."""
    try:
        call, temporary = prepare(peer, cell, mode, Size(*map(int, sizes)))
        start = time.perf_counter()
        call()
        first = time.perf_counter() - start
        call()
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        tell({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    if CLEAR.exists():  # exclude the memory of compilation
        CLEAR.write_text("5")
    tell({"first": first, "temporary": temporary()})
    for line in sys.stdin:
        question = json.loads(line)
        calls, clock = question["calls"], CLOCKS[question["clock"]]
        if calls:
            tell({"seconds": [timed(call, clock) for _ in range(calls)]})
        else:
            tell({"resident": resident()})


def prepare(peer: str, cell: str, mode: str, size: Size) -> tuple[Any, Any]:
    """Returns the call to time, and a function that returns its temporary bytes."""
    library, method, devices = split_peer(peer)
    if library == "torch":  # without JAX in its process
        where = "experiments.bench.peers.torch:prepare"
        return pkgutil.resolve_name(where)(cell, mode, size)
    where = "experiments.bench.peers.compiled:prepare"
    how = (library, method, devices)
    return pkgutil.resolve_name(where)(*how, cell, mode, size)


def timed(call: Any, clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns the duration of a call in seconds."""
    start = clock()
    call()
    return clock() - start


def resident() -> int:
    """Returns the peak resident memory in bytes; on Linux, since compilation."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tell(what: Any) -> None:
    """Sends a result to the parent process."""
    print(MARK + json.dumps(what), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
