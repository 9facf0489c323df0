"""Section G of the drill: hostile files."""

import functools
from pathlib import Path
from typing import Any

import jax

from experiments.drill import launch
from experiments.drill.rows import Check, Result, Row, count, refused
from experiments.errors import UserError
from experiments.tasks.char_lm import TASK, CharOptions
from jrnn.interop import files
from jrnn.text import UNK, Vocabulary

MUTATIONS = 1000
LIMIT = 1200  # seconds


def hostile(number: int) -> Check:
    """Returns the check of a row that opens files in processes of their own."""

    def check(folder: Path, quick: bool) -> Result:
        trials = str(MUTATIONS // 10 if quick else MUTATIONS)
        words = str(number), str(folder), trials
        ended = launch.run("experiments.drill.hostile", *words, limit=LIMIT)
        if ended.code:
            return Result(False, 1, 1, f"exit code {ended.code}: {ended.err[-500:]}")
        found = ended.result
        note = (
            f"at most {found['seconds']:.3f} s of a processor and {found['mib']:.0f} "
            "MiB beyond the import"
        )
        faults = found["faults"]
        shown = faults[0] if faults else note
        return Result(not faults, found["trials"], len(faults), shown)

    return check


DESCRIPTIONS: list[Any] = [
    {"kind": "os.system"},
    {"kind": "jrnn.cells.LSTM", "hidden_size": 3},
    {"kind": "Sequential", "layers": [{"kind": "eval"}]},
    {"kind": "LSTM", "hidden_size": 3, "code": "1"},
    {"kind": "LSTM", "hidden_size": "__import__('os')"},
    {"kind": "Map", "function": {"function": "os.system"}},
    {"function": "tanh", "module": "os"},
    {"function": "jax.numpy.tanh"},
]
OPTIONS: list[dict[str, Any]] = [
    {"cell": "os.system"},
    {"cell": "jrnn.cells.LSTM"},
    {"cell": "lstm; import os"},
    {"cell": "zoneout(eval)"},
    {"cell": "__class__"},
    {"method": "os.system"},
    {"hidden_size": "__import__('os')"},
    {"plugin": "evil.module"},
]


def configurations(folder: Path, quick: bool) -> Result:
    """Builds models from configurations that name code."""
    del folder, quick
    trials = [
        refused(functools.partial(files.from_config, plain), files.FileError)
        for plain in DESCRIPTIONS
    ]
    saved = {"vocabulary": Vocabulary.build("ab", specials=(UNK,)).to_json()}
    for change in OPTIONS:
        plain = CharOptions().to_json() | change

        def build(plain: dict[str, Any] = plain) -> object:
            options = CharOptions.from_json(plain)
            model = TASK.model(options, saved)
            return jax.eval_shape(model.init, jax.random.key(0))

        trials.append(refused(build, (UserError, ValueError)))
    return count(trials)


ROWS = (
    Row(
        60,
        "G",
        "a pickle in a .pt or .npy file",
        "refused, and its code does not run",
        hostile(60),
    ),
    Row(
        61,
        "G",
        "zip bombs, and headers that declare 4 TiB or a million entries",
        "refused within 1 s and 200 MB",
        hostile(61),
    ),
    Row(
        62,
        "G",
        "names with `..`, absolute names, backslashes, NUL, very long names",
        "refused; nothing is written elsewhere",
        hostile(62),
    ),
    Row(
        63,
        "G",
        "shapes and bytes that disagree, overlapping, repeated, extra and "
        "missing arrays",
        "refused, each with its own message",
        hostile(63),
    ),
    Row(
        64,
        "G",
        "a configuration with an import path or an unknown cell",
        "refused",
        configurations,
    ),
    Row(
        65,
        "G",
        "random bytes of a checkpoint changed",
        "no crash, no hang, no wrong value",
        hostile(65),
    ),
)
