"""Records what the report shows of a training: samples and gradients.

Each is a file of one JSON value per line in the folder of the run.
"""

import json
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.run import disk
from experiments.run.task import Score

if TYPE_CHECKING:
    from experiments.run.session import Session

TIMES = 24  # how often gradients are recorded


def sample(session: "Session", score: Score, text: str) -> None:
    """Records a sample and its score."""
    row = {"words": score.words, "figures": score.figures, "text": text}
    _append(session, "samples.jsonl", row)


def gradients(session: "Session") -> None:
    """Records how the gradient depends on the lag, if the task says."""
    params = on_one_device(session.learner.params)
    norms = session.task.gradient_by_lag(
        session.options, session.model, params, session.data
    )
    if norms is not None:
        known = [float(f"{n:.4g}") if n < np.inf else None for n in np.asarray(norms)]
        _append(session, "gradients.jsonl", {"norms": known})


def on_one_device(params: Any) -> Any:
    """Copies parameters from any number of devices to one device."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), params)


def _append(session: "Session", name: str, row: dict[str, Any]) -> None:
    place = {"step": session.step, "done": session.done, "seconds": session.seconds}
    line = json.dumps(place | row, ensure_ascii=False)
    disk.append_line(session.path / name, line)
