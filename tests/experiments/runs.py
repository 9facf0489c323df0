"""Tiny runs of the character model, and what they left behind."""

import dataclasses
import json

from experiments.run import folder, train
from experiments.run.session import Session
from experiments.tasks.char_lm import TASK
from jrnn.interop import files

TEXT = "The quick brown fox jumps over the lazy dog. " * 50 + "\n"
CLOCKED = "seconds"


def start(config):
    """Begins a run and returns its folder."""
    assert train.run(TASK, config) == 0
    return config.out


def resume(path, **changes):
    """Resumes a run as another process would."""
    old = folder.read(path).options
    return train.run(TASK, dataclasses.replace(old, resume=path, **changes), old)


def open_session(config):
    """Returns a session without a folder, ready to train."""
    config.out.mkdir(exist_ok=True)
    return Session(config.out, TASK, config, TASK.load(config))


def newest(path):
    """Returns the arrays and the step of the newest checkpoint."""
    arrays, texts = files.load_arrays(folder.checkpoints(path)[0], signed=True)
    return files.digest(arrays, {}), int(texts["step"])


def log(path):
    """Returns the metrics without what a clock says."""
    rows = (path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(row).items() if k != CLOCKED} for row in rows]
