"""Tiny runs of the character model, and what they left behind."""

import dataclasses
import json

from experiments.char_lm import corpus, run_folder, train
from experiments.char_lm.session import Session
from jrnn.interop import files

TEXT = "The quick brown fox jumps over the lazy dog. " * 50 + "\n"
CLOCKED = "seconds"


def start(config):
    """Begins a run and returns its folder."""
    assert train.run(config) == 0
    return config.out


def resume(path, **changes):
    """Resumes a run as another process would."""
    old, *_ = run_folder.read(path)
    return train.run(dataclasses.replace(old, resume=path, **changes), old)


def open_session(config):
    """Returns a session without a folder, ready to train."""
    data = corpus.split(*corpus.read_text(config.text), config.batch_size, config.chunk)
    config.out.mkdir(exist_ok=True)
    return Session(config.out, config, data)


def newest(path):
    """Returns the arrays and the step of the newest checkpoint."""
    arrays, texts = files.load_arrays(run_folder.checkpoints(path)[0], signed=True)
    return files.digest(arrays, {}), int(texts["step"])


def log(path):
    """Returns the metrics without what a clock says."""
    rows = (path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(row).items() if k != CLOCKED} for row in rows]
