"""Ends this process with a message if another process of the program is lost.

A computation of several processes cannot continue without one of them. JAX detects this
itself, but then aborts the process with a long trace. With `watched`, the process ends
within about 20 seconds with a clear message and the exit code `LOST`.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
from jax._src import distributed  # has the only way to the store that JAX keeps

LOST = 69  # exit code
BEAT = 2.0  # seconds between signs of life
_BEATS, _SAID, _LEFT = "jrnn/beats/", "jrnn/lost/", "left"
_BROKEN = ("Gloo", "NCCL", "UNAVAILABLE", "closed by peer", "Connection reset")


@contextlib.contextmanager
def watched(seconds: float = 12.0) -> Iterator[None]:
    """Ends this process with code `LOST` if another one is lost while the block runs.

    Call it on every process after `jax.distributed.initialize`; with one process it
    does nothing. A process is lost if it was killed, or if it does not respond for some
    time. Files are not changed: checkpoints that were saved stay complete.

    If process 0 is lost, JAX may abort this process first, with its own message and the
    signal SIGABRT, because process 0 runs the service that connects all of them.

    Args:
      seconds: The time after which a process that does not respond is lost. Pass a
        longer `heartbeat_timeout_seconds` to `jax.distributed.initialize`, or JAX
        aborts this process first.

    Example:
      >>> with watched():
      ...     pass  # the training loop
    """
    if jax.process_count() == 1:
        yield
        return
    watch = _Watch(seconds)
    try:
        yield
    except Exception as error:
        text = str(error)
        if any(word in text for word in _BROKEN):
            _end(f"the connection to another process broke ({text.splitlines()[0]})")
        raise
    finally:
        watch.leave()


class _Watch:
    """Threads that show signs of life, and look for those of the others.

    Process 0 looks at all, and tells the others, which look only whether it answers.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.own = jax.process_index()
        self.client: Any = distributed.global_state.client
        self.left = threading.Event()
        self.heard: dict[str, tuple[str, float]] = {}  # the last sign, and when
        self.answered = time.monotonic()
        self.threads = [
            threading.Thread(target=run, daemon=True) for run in (self.beat, self.wait)
        ]
        for thread in self.threads:
            thread.start()

    def beat(self) -> None:
        """Shows signs of life to process 0, and asks it about the others."""
        for number in range(sys.maxsize):
            try:
                self.say(str(number))
                lost = self.find()
            except Exception as error:
                reason = str(error).partition("\n")[0]
                self.end(f"process 0 is lost: it does not answer ({reason})")
                return
            self.answered = time.monotonic()
            if lost is not None:
                self.end(f"process {lost} is lost: no sign of life for a while")
            if self.left.wait(BEAT):
                return

    def wait(self) -> None:
        """Waits for answers of process 0, for which `beat` would wait for long."""
        while not self.left.wait(BEAT):
            if time.monotonic() - self.answered > self.seconds + 2 * BEAT:
                self.end("process 0 is lost: it does not answer")

    def end(self, reason: str) -> None:
        if not self.left.is_set():
            _end(reason)

    def say(self, sign: str) -> None:
        self.client.key_value_set(f"{_BEATS}{self.own}", sign, allow_overwrite=True)

    def find(self) -> str | None:
        """Returns the number of a process that is lost."""
        if self.own != 0:
            said = self.client.key_value_dir_get(_SAID)
            return said[0][1] if said else None
        now = time.monotonic()
        for key, sign in self.client.key_value_dir_get(_BEATS):
            process = key.rpartition("/")[2]
            if self.heard.get(process, ("", now))[0] != sign:
                self.heard[process] = sign, now
            elif sign != _LEFT and now - self.heard[process][1] > self.seconds:
                self.client.key_value_set(f"{_SAID}{process}", process)
                time.sleep(2 * BEAT)  # until all others read it: it ends with this one
                return process
        return None

    def leave(self) -> None:
        """Ends the watch; a process that leaves is not lost."""
        self.left.set()
        for thread in self.threads:  # no sign may follow the last one
            thread.join(timeout=BEAT)
        with contextlib.suppress(Exception):
            self.say(_LEFT)


def _end(reason: str) -> NoReturn:
    """Ends the process; `sys.exit` would wait for the lost one."""
    print(
        f"error: {reason}. A process cannot continue alone, so this one ends with code "
        f"{LOST}. Start all of them again: they resume at the newest checkpoint.",
        file=sys.stderr,
    )
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(LOST)
