"""Starts programs of the drill in processes of their own."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from experiments.drill import trainer

REPOSITORY = Path(__file__).parents[2]
LIMIT = 300  # seconds
CACHE = Path(tempfile.gettempdir()) / "jrnn_drill_cache"  # of compiled programs


class Ended(NamedTuple):
    """What a process left."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def result(self) -> dict[str, Any]:
        """The JSON in the last line of the output."""
        return json.loads(self.out.strip().splitlines()[-1])

    @property
    def saved(self) -> list[int]:
        """The steps that were acknowledged."""
        lines = self.out.splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith("SAVED")]


def start(module: str, *words: str, **options: Any) -> "subprocess.Popen[str]":
    """Starts `python -m module words...` with pipes."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def end(process: "subprocess.Popen[str]", began: float, limit: float = LIMIT) -> Ended:
    """Waits for a process. One that does not end in time is killed: code -9."""
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    return Ended(process.returncode, out, err, time.monotonic() - began)


def run(module: str, *words: str, limit: float = LIMIT, **options: Any) -> Ended:
    """Runs a program to its end."""
    began = time.monotonic()
    return end(start(module, *words, **options), began, limit)


def train(folder: Path | str, limit: float = LIMIT, **settings: Any) -> Ended:
    """Runs the training program to its end."""
    return run(TRAINER, describe(folder, **settings), limit=limit)


def train_together(
    folder: Path | str, each: list[dict[str, Any]], limit: float = LIMIT, **shared: Any
) -> list[Ended]:
    """Runs the training program as several processes, with settings for each."""
    ports = free_port()
    number, began = len(each), time.monotonic()
    started = [
        start(
            TRAINER,
            describe(
                folder,
                **shared | {"process": i, "processes": number, "port": ports} | own,
            ),
        )
        for i, own in enumerate(each)
    ]
    return [end(process, began, limit) for process in started]


def here(folder: Path | str, **settings: Any) -> Ended:
    """Runs the training program within this process, which is faster."""
    out, err, began = io.StringIO(), io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = trainer.attempt(trainer.Settings(str(folder), **settings))
    return Ended(code, out.getvalue(), err.getvalue(), time.monotonic() - began)


def describe(folder: Path | str, **settings: Any) -> str:
    """Returns the argument of the training program."""
    return json.dumps({"folder": str(folder), **settings})


def free_port() -> int:
    """Returns a port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


TRAINER = "experiments.drill.trainer"
