"""The inputs, the same for each library."""

import numpy as np

from experiments.bench.config import Size


def inputs(size: Size, *, time_major: bool) -> np.ndarray:
    """Draws inputs [T, B, D], or [B, T, D]."""
    shape = (size.time, size.batch, size.inputs)
    xs = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return xs if time_major else np.ascontiguousarray(xs.swapaxes(0, 1))
