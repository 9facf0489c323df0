"""How a model reads a text: surprise, alternatives, and what its units track."""

import base64
from typing import Any

import jax
import numpy as np

from experiments.report import features
from experiments.run.task import Reading

SKIPPED, SHOWN = 200, 900  # tokens to read first, tokens to show
ALTERNATIVES = 5
UNITS = 1024  # of which the best ranked are kept


def content(reading: Reading) -> dict[str, Any]:
    """Returns what the page shows of a reading, as JSON values."""
    total = len(reading.tokens)
    first = min(SKIPPED, max(0, total - SHOWN))
    if first and "\n" in reading.tokens[first : first + SKIPPED]:  # begin with a line
        first = reading.tokens.index("\n", first) + 1
    shown = slice(first, first + SHOWN)
    log_p = np.asarray(jax.nn.log_softmax(reading.logits.astype(np.float32), axis=-1))
    answers = np.asarray(reading.answers)
    nats = -log_p[np.arange(total), answers]
    best = np.argsort(-log_p[shown], axis=-1)[:, :ALTERNATIVES]
    chances = np.exp(np.take_along_axis(log_p[shown], best, axis=-1))
    own = [reading.symbols[i] for i in answers[:50].tolist()] == reading.tokens[:50]
    used, best = np.unique(best, return_inverse=True)
    return {
        "tokens": reading.tokens[shown],
        "answers": None if own else [reading.symbols[i] for i in answers[shown]],
        "nats": [round(float(value), 3) for value in nats[shown]],
        "mean": float(nats.mean()),
        "read": total,
        "symbols": [reading.symbols[i] for i in used.tolist()],
        "best": best.reshape(chances.shape).tolist(),
        "chances": [[round(float(p), 4) for p in row] for row in chances],
        "units": _units(reading, nats, shown),
    }


def _units(reading: Reading, nats: np.ndarray, shown: slice) -> dict[str, Any] | None:
    """Returns the activations of units, and what each of them tracks."""
    if not reading.layers:
        return None
    every = np.concatenate(
        [np.asarray(ys, np.float32) for ys in reading.layers.values()], axis=1
    )
    labels = [
        f"{layer}, unit {n}"
        for layer, ys in reading.layers.items()
        for n in range(ys.shape[1])
    ]
    tracked = features.features(reading.tokens) | {"surprise": nats}
    r = correlations(every, np.stack([*tracked.values()], axis=1))
    kept = np.argsort(-np.abs(r).max(axis=1), kind="stable")[:UNITS]
    peaks = np.maximum(np.abs(every[shown]).max(axis=0)[kept], 1e-9)
    small = np.round(127 * every[shown][:, kept] / peaks).astype(np.int8)
    return {
        "labels": [labels[n] for n in kept],
        "features": [*tracked],
        "r": [[round(float(value), 3) for value in row] for row in r[kept]],
        "peaks": [float(f"{peak:.3g}") for peak in peaks],
        "activations": base64.b64encode(small.T.tobytes()).decode(),  # [units, tokens]
    }


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns Pearson's correlation of every column of both; 0 for constant columns.

    Args:
      a: [T, A].
      b: [T, B].
    """

    def standard(x: np.ndarray) -> np.ndarray:
        centered = x.astype(float) - x.mean(axis=0)
        size = np.sqrt((centered**2).sum(axis=0))
        return np.divide(centered, size, out=0 * centered, where=size > 1e-9)

    return standard(a).T @ standard(b)
