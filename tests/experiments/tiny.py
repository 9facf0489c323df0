"""Options of a tiny run of every task, and the data that some need."""

import dataclasses

import numpy as np
import pytest

from experiments import tasks
from tests.experiments.runs import TEXT

NAMES = "\n".join(f"{a}{b}" for a in ("Anna", "Bob", "Cy") for b in ("s", "lyn", "d"))
CODE = (
    "def f(x):\n    return 3 * x  # three\n",
    "import os\n" * 5,
    "a = 'b'  # c\n" * 3,
)
TINY = {
    "addition": {"digits": 1, "examples": 40, "held_out": 10, "embedding_size": 3},
    "adding": {"length": 6, "examples": 7},
    "chorales": {},
    "code_tags": {"length": 16, "embedding_size": 3, "held_out": 3},
    "copy": {"gap": 3, "examples": 7},
    "dates": {"examples": 30, "held_out": 9, "embedding_size": 3},
    "digits": {"cell": "elman", "noise": 0.1, "dropout": 0.2},
    "names": {"embedding_size": 3},
    "parity": {"length": 5, "unseen": 9, "examples": 7},
    "word_lm": {"chunk": 5, "min_count": 1},
    "sunspots": {"window": 15},
}


def file_of(text):
    def write(path):
        path.write_text(text)
        return path

    return write


def write_modules(path):
    path.mkdir()
    for n, code in enumerate(CODE):
        (path / f"{n}.py").write_text(code)
    return path


def write_chorales(path):
    rng, written = np.random.default_rng(0), {}
    for part, number in [("traindata", 5), ("testdata", 3)]:
        written[part] = np.empty((1, number), object)
        for i in range(number):
            notes = rng.integers(0, 2, (6 + i, 88))
            written[part][0, i] = notes.astype(np.uint8)
    pytest.importorskip("scipy.io").savemat(path.with_suffix(".mat"), written)
    return path.with_suffix(".mat")


NEEDED = {"chorales": "scipy.io", "dates": "babel", "digits": "sklearn"}
DATA = {  # an option of a task, and what writes its file
    "chorales": ("data", write_chorales),
    "code_tags": ("folder", write_modules),
    "names": ("text", file_of(NAMES)),
    "word_lm": ("text", file_of(TEXT)),
}


def tiny(name, tmp_path):
    """Returns a task and options of a run that takes a moment."""
    task, given = tasks.find(name), dict(TINY[name])
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    if name in DATA:
        option, write = DATA[name]
        given[option] = write(tmp_path / name)
    shared = {"hidden_size": 4, "batch_size": 4, "steps": 12, "samples": 1}
    options = task.options(**shared, **given, out=tmp_path / "run")
    options.check()
    return task, dataclasses.replace(options, devices="2")
