"""Scalars of a run for TensorBoard, where tensorboardX is installed."""

import importlib.util
import math
from pathlib import Path
from typing import Any

from jrnn.training import processes

FOLDER = "events"  # in the folder of the run


class Events:
    """Writes event files: `tensorboard --logdir runs` shows them.

    Without tensorboardX, and on all processes but the first, it writes nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / FOLDER
        self.writer: Any = None
        found = importlib.util.find_spec("tensorboardX") is not None
        self.writes = found and processes.is_first()

    def add(self, step: int, scalars: dict[str, Any], group: str) -> None:
        """Writes values that are finite, such as a row of metrics.jsonl."""
        if not self.writes:
            return
        if self.writer is None:
            from tensorboardX import SummaryWriter  # noqa: PLC0415  optional

            # What an interrupted run wrote of these steps is hidden.
            self.writer = SummaryWriter(str(self.path), purge_step=step)
        for name, value in scalars.items():
            if isinstance(value, int | float) and math.isfinite(value):
                self.writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Writes what is pending."""
        if self.writer is not None:
            self.writer.close()
