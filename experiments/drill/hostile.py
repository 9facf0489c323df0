"""Opens hostile files, each in a process of its own, and reports what was not refused.

    python -m experiments.drill.hostile 61 FOLDER

The library and the optional packages are imported before, and not counted.
"""

import contextlib
import functools
import importlib.util
import json
import os
import pickle
import random
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.drill import guarded, hostile_files as made
from jrnn.interop import files
from jrnn.text import UNK, TokenFile, Vocabulary, write_tokens
from jrnn.training import checkpoints

CASES = made.HOSTILE
BOMBS = ("header", "huge", "million", "entries", "lists", "bomb", "four", "overflow")
PICKLES = ("pickle", "objects", "code")
TREE = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(5)}


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return open, (self.marker, "w")


def main(number: str, folder: Path, mutations: int) -> dict[str, Any]:
    """Runs the trials of a row; returns how many there were and what went wrong."""
    warnings.simplefilter("ignore")
    for name in ("torch", "h5py"):  # imported now, so that their memory is not counted
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    trials = [
        trial
        for trial in {
            "60": pickles,
            "61": bombs,
            "62": names,
            "63": shapes,
            "65": lambda folder: mutated(folder, mutations),
        }[number](folder)
    ]
    return {
        "trials": len(trials),
        "faults": [fault for fault, _ in trials if fault],
        "seconds": max(spent.seconds for _, spent in trials),
        "mib": max(spent.mib for _, spent in trials),
    }


Trial = tuple[str | None, guarded.Spent]


def refused(path: Path, data: bytes) -> Trial:
    """Tries to load a file that must be refused."""
    path.write_bytes(data)
    spent = guarded.run(lambda: bool(files.load_arrays(path)))
    fault = spent.fault(path.name)
    if not fault and not spent.error.startswith("FileError"):
        fault = f"{path.name}: {spent.error}"
    path.unlink()
    return fault, spent


def pickles(folder: Path) -> Iterator[Trial]:
    """Files with code in them, whose code must not run."""
    marker = folder / "marker"
    evil = pickle.dumps({"w": Evil(marker)})
    contents = {
        "evil.pt": evil,
        "evil.pth": evil,
        "evil.npy": made.npy(np.array([Evil(marker)], object)),
        "evil.npz": evil,
        "evil_inside.npz": made.archive([("w.npy", evil)]),
        "evil_objects.npz": made.archive(
            [("w.npy", made.npy(np.array([Evil(marker)], object)))]
        ),
        "evil.safetensors": evil,
        "evil.h5": evil,
        "evil.keras": made.archive([("config.json", evil)]),
    }
    if importlib.util.find_spec("torch"):
        import torch  # noqa: PLC0415  optional

        torch.save({"w": Evil(marker)}, folder / "saved.pt")
        contents["saved_by_torch.pt"] = (folder / "saved.pt").read_bytes()
    contents |= {name: CASES[name] for name in CASES if name.startswith(PICKLES)}
    for name, data in contents.items():
        fault, spent = refused(folder / name, data)
        ran = f"{name}: its code ran" if marker.exists() else None
        yield ran or fault, spent


def bombs(folder: Path) -> Iterator[Trial]:
    """Files that claim, or expand to, far more than they have."""
    for name, data in CASES.items():
        if any(word in name for word in BOMBS):
            yield refused(folder / name, data)
    nested = b'{"format": 1, "sha256": "", "a": [' + b"[]," * (20 << 20) + b"0]}"
    step = folder / "step_00000001"
    step.mkdir()
    (step / "manifest.json").write_bytes(nested)
    spent = guarded.run(lambda: bool(checkpoints.inspect(folder)))
    # The file itself has 60 MiB.
    yield spent.fault("manifest.json"), spent


def names(folder: Path) -> Iterator[Trial]:
    """Names that are paths to elsewhere. Nothing may be written."""
    inner, one = folder / "a" / "b", np.ones(2)
    inner.mkdir(parents=True)
    for name, data in CASES.items():
        if name.startswith("name_"):
            fault, spent = refused(inner / name, data)
            written = [str(path) for path in folder.rglob("*") if path.is_file()]
            yield (f"{name}: wrote {written}" if written else fault), spent
    for bad in ("../x", "/tmp/x", "a\\x", "a\0x", "x" * 300):
        path = inner / "good.safetensors"
        spent = guarded.run(functools.partial(files.save_arrays, path, {bad: one}))
        fault = spent.fault(repr(bad)[:20])
        yield fault or (f"{bad}: a file was made" if path.exists() else None), spent


def shapes(folder: Path) -> Iterator[Trial]:
    """Arrays that disagree with their bytes or with the model."""
    said = []
    for name, data in CASES.items():
        if not name.startswith(("name_", *PICKLES)):
            trial = refused(folder / name, data)
            said.append(trial[1].error.replace(str(folder / name), ""))
            yield trial
    good = folder / "good.safetensors"
    like = {"a": np.zeros((2, 3), "f4"), "b": np.zeros(2, "f4")}
    changes: dict[str, dict[str, Any]] = {
        "missing": {"a": like["a"]},
        "extra": {**like, "c": like["b"]},
        "shape": {**like, "a": np.zeros((3, 2), "f4")},
        "dtype": {**like, "b": np.zeros(2, "f8")},
    }
    for kind, arrays in changes.items():
        files.save_arrays(good, arrays)
        spent = guarded.run(
            lambda: bool(files.restore(like, files.load_arrays(good)[0]))
        )
        said.append(spent.error)
        yield spent.fault(kind), spent
    distinct = len(set(said[-len(changes) :]))
    if distinct != len(changes):
        yield f"{len(changes)} mistakes have {distinct} messages", spent


def mutated(folder: Path, number: int) -> Iterator[Trial]:
    """Good files with random bytes changed: an error, or the values that were saved."""
    rng = random.Random(0)
    with checkpoints.Checkpoints(folder / "run", {"size": 3}) as store:
        store.save(1, TREE)
    step = folder / "run" / "step_00000001"
    vocabulary = Vocabulary.build("to be or not", specials=(UNK,))
    write_tokens(folder / "x.tokens", ["to be or not"], vocabulary, 12)
    files.save_arrays(folder / "x.npz", TREE)
    files.save_arrays(folder / "x.safetensors", TREE)
    loaders = {
        **{path: load_checkpoint for path in sorted(step.iterdir())},
        folder / "x.npz": load_arrays,
        folder / "x.safetensors": load_arrays,
        folder / "x.tokens": load_tokens,
    }
    expected = {path: load(path) for path, load in loaders.items()}
    for trial in range(number):
        path = [*loaders][trial % len(loaders)]
        good = path.read_bytes()
        bad = bytearray(good)
        for _ in range(rng.choice([1, 1, 2, 8])):
            place = rng.randrange(len(bad))
            bad[place] ^= rng.randrange(1, 256)
        path.write_bytes(bad)
        spent = guarded.run(functools.partial(loaders[path], path))
        path.write_bytes(good)
        fault = spent.fault(path.name) if spent.killed else None
        if not spent.error and spent.value != expected[path]:
            fault = f"{path.name}: loads other values, mutation {trial}"
        yield fault, spent


def load_checkpoint(path: Path) -> Any:
    """Returns all that is loaded from the checkpoint of a file, as JSON."""
    folder = path.parents[1]
    like = {name: np.zeros_like(array) for name, array in TREE.items()}
    arrays = checkpoints.load(folder, like)
    return [str(checkpoints.inspect(folder)), files.digest(arrays, {})]


def load_arrays(path: Path) -> Any:
    """Returns the arrays and the metadata of a file, as JSON."""
    arrays, metadata = files.load_arrays(path, signed=True)
    return [files.digest(arrays, {}), metadata]


def load_tokens(path: Path) -> Any:
    """Returns the tokens and the vocabulary of a file, as JSON."""
    with contextlib.closing(TokenFile(path)) as file:
        file.verify()
        return [file[:].tolist(), file.vocabulary.to_json()]


if __name__ == "__main__":
    row, where, count = sys.argv[1:]
    os.environ["JAX_PLATFORMS"] = "cpu"
    print(json.dumps(main(row, Path(where), int(count))))
