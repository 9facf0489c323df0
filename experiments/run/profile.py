"""A trace of some updates by the profiler of JAX."""

from pathlib import Path
from typing import Self

import jax

from experiments.run import terminal

FOLDER = "profile"  # in the folder of the run


class Profile:
    """Traces the first calls of a session that make up a number of updates."""

    def __init__(self, path: Path, updates: int | None, step: int) -> None:
        self.path = path / FOLDER
        self.end = None if updates is None else step + updates
        self.active = False

    def __enter__(self) -> Self:
        if self.end is not None:
            jax.profiler.start_trace(self.path)
            self.active = True
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self, step: int | None = None) -> None:
        """Ends the trace after its last update, or for None at once."""
        if self.active and (step is None or step >= (self.end or 0)):
            self.active = False
            jax.profiler.stop_trace()
            terminal.say(
                f"  profile of the updates in {self.path}: open it with xprof, or its "
                "trace.json.gz with Perfetto"
            )
