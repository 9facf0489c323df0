"""Tiny runs of the character model, and what they left behind."""

import dataclasses
import json

from experiments.run import folder, train
from experiments.run.session import Session
from experiments.tasks.char_lm import TASK
from jrnn.training import checkpoints
from jrnn.training.checkpoints.folder import list_steps

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
    """Returns what the newest checkpoint consists of, and its step."""
    found = checkpoints.inspect(path / "checkpoints")
    return found.files, found.step


def steps(path):
    """Returns the steps of all checkpoints."""
    return list_steps(path / "checkpoints")


def log(path):
    """Returns the metrics without what a clock says."""
    rows = (path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(row).items() if k != CLOCKED} for row in rows]
