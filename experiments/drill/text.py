"""The text that the training program of the drill reads."""

from pathlib import Path
from typing import Any

import numpy as np


def read(path: str | None) -> np.ndarray:
    """Returns the symbols of the text."""
    if path is None:
        return np.random.default_rng(1).integers(0, 9, 997).astype(np.int32)
    data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    return np.unique(data, return_inverse=True)[1].astype(np.int32)


def batch(
    settings: Any, text: np.ndarray, step: int, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the inputs and targets of some rows: a function of seed and step."""
    starts = (rows + settings.seed) * len(text) // settings.batch_size
    moved = step
    if settings.shuffle:
        windows = len(text) // settings.time
        rng = np.random.default_rng([settings.seed, step // windows])
        moved = rng.permutation(windows)[step % windows]
    at = starts[:, None] + moved * settings.time + np.arange(settings.time + 1)
    read = text[at % len(text)]
    return read[:, :-1], read[:, 1:]
