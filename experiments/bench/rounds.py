"""Runs one process per peer. The processes take turns."""

import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from experiments.bench.config import Size, split_peer

MARK = "@result "  # prefix of results; libraries may print other lines
MODULES = {"linen": "flax", "nnx": "flax"}
Row = dict[str, Any]


def run(
    peers: tuple[str, ...],
    cell: str,
    mode: str,
    size: Size,
    *,
    rounds: int,
    calls: int,
    clock: str = "wall",
) -> list[Row]:
    """Times peers on one problem.

    Returns:
      A row for each installed peer: cell, mode, sizes, the fastest call of each turn in
      seconds, the time to the first result, and memory; or an error.
    """
    what = {"cell": cell, "mode": mode, **size._asdict()}
    rows, workers = {}, {}
    with contextlib.ExitStack() as ends:
        for peer in filter(installed, peers):
            worker = ends.enter_context(_start(peer, cell, mode, size))
            reply = _receive(worker)  # one at a time, as compilation is timed
            rows[peer] = {"peer": peer, **what, **reply}
            if "error" not in reply:
                workers[peer] = worker
                rows[peer]["seconds"] = []
        for turn in range(rounds + 1):
            question = {
                "calls": calls if turn < rounds else 0,
                "clock": clock,
            }  # the last one asks for the memory
            for peer in list(workers):
                reply = _ask(workers[peer], question)
                if "error" in reply:
                    del workers[peer], rows[peer]["seconds"]
                elif "seconds" in reply:
                    rows[peer]["seconds"].append(min(reply.pop("seconds")))
                rows[peer] |= reply
    return list(rows.values())


def compare(rows: list[Row], base: str) -> list[Row]:
    """Adds medians, and the median and range of the ratios to one peer."""
    turns = {row["peer"]: row["seconds"] for row in rows if "seconds" in row}
    compared = []
    for row in rows:
        if "seconds" in row:
            row = {**row, "median": statistics.median(row["seconds"])}
            if turns.get(base):
                ratios = [
                    a / b for a, b in zip(row["seconds"], turns[base], strict=True)
                ]
                row["ratio"] = statistics.median(ratios)
                row["range"] = [min(ratios), max(ratios)]
        compared.append(row)
    return compared


def installed(peer: str) -> bool:
    """Returns whether the library of a peer can be imported."""
    library = split_peer(peer)[0]
    return importlib.util.find_spec(MODULES.get(library, library)) is not None


def _start(peer: str, cell: str, mode: str, size: Size) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "experiments.bench.worker", peer, cell, mode]
    return subprocess.Popen(
        [*words, *map(str, size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )


def _ask(worker: subprocess.Popen[str], question: Any) -> Row:
    assert worker.stdin is not None
    try:
        worker.stdin.write(json.dumps(question) + "\n")
        worker.stdin.flush()
    except BrokenPipeError:  # the process has ended; `_receive` reports it
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.close()
    return _receive(worker)


def _receive(worker: subprocess.Popen[str]) -> Row:
    """Returns the next result of a worker, or an error if its process has ended."""
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))
    return {"error": f"ended with exit code {worker.wait()}"}
