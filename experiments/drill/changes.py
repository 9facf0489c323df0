"""Runs that are resumed after something changed: rows 18 to 22."""

import contextlib
import dataclasses
import functools
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import tasks
from experiments.drill import damage, launch
from experiments.drill.rows import Result, attempt, count, refused
from experiments.errors import UserError
from experiments.run import folder as runs, train
from jrnn.training import checkpoints
from jrnn.training.checkpoints import (
    CheckpointError,
)

STEPS = 5
TEXT = "The quick brown fox jumps over the lazy dog. " * 40


def refuses(
    folder: Path, changes: dict[str, Any], *words: str, **settings: Any
) -> str | None:
    """Changes the training program; it must refuse before it computes anything."""
    before = launch.here(folder, **{"steps": STEPS, **settings})
    if before.code:
        return before.err
    kept = contents(folder)
    ended = launch.here(folder, **{"steps": 2 * STEPS, **settings, **changes})
    lacking = [word for word in words if word not in ended.err]
    if ended.code != 2 or "READY" in ended.out or lacking:
        return f"{changes}: exit code {ended.code}, {lacking} not in {ended.err}"
    if contents(folder) != kept:
        return f"{changes}: files changed"
    return None


def contents(folder: Path) -> dict[str, bytes]:
    """Returns all files but the lock, which has the number of a process."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if path.name not in (".lock", "env.json")
    }


def runner(task: str, options: Any, **changes: Any) -> str:
    """Runs `train`, or resumes with changes; returns what it printed."""
    old, out = None, io.StringIO()
    if changes:
        old = runs.read(options.out).options
        options = dataclasses.replace(old, resume=options.out, **changes)
    with contextlib.redirect_stdout(out):
        train.run(tasks.find(task), options, old)
    return out.getvalue()


def small(task: str, folder: Path, **given: Any) -> Any:
    """Returns options of a run that takes a moment."""
    shared: Any = {"steps": 20, "hidden_size": 4, "batch_size": 4, "samples": 0}
    made = tasks.find(task).options(**shared, **given, devices="1", out=folder)
    made.check()
    return made


def parity(folder: Path) -> Any:
    """Starts a run of the runner that stops half-way; returns its options."""
    options = small("parity", folder, length=5, unseen=7, examples=9, stop_after=10)
    runner("parity", options)
    return options


def another_model(folder: Path, quick: bool) -> Result:
    """Row 18."""
    edits: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"hidden_size": 7}, ("hidden_size was 6 and is now 7",)),
        ({"layers": 2}, ("layers was 1 and is now 2",)),
        ({"cell": "gru"}, ("cell was 'lstm' and is now 'gru'",)),
        (
            {"cell": "elman", "layers": 3, "hidden_size": 5},
            ("cell was", "layers was", "hidden_size was"),
        ),
    ]
    trials = [
        attempt(refuses, folder / "loop", edit, *words)
        for edit, words in (edits[-1:] if quick else edits)
    ]
    options = parity(folder / "run")
    both = {"hidden_size": 6, "layers": 2}
    trials.append(
        refused(
            lambda: runner("parity", options, **both),
            UserError,
            "--hidden-size was 4 and is now 6",
            "--layers was 1 and is now 2",
        )
    )
    tree = damage.saved(folder / "tree", 1)  # without facts: leaves are compared
    wider = damage.state(0)._replace(params={"w": jnp.ones(3)})
    trials.append(
        refused(lambda: checkpoints.load(tree, wider), CheckpointError, "params.w")
    )
    return count(trials)


def another_recipe(folder: Path, quick: bool) -> Result:
    """Row 19."""
    trials = [
        attempt(refuses, folder / "loop", {name: value}, f"{name} was")
        for name, value in [("batch_size", 4), ("seed", 1)][: 1 if quick else 2]
    ]

    def allowed() -> str | None:
        ended = launch.here(folder / "loop", steps=2 * STEPS, rate=0.01)
        words = "config.rate was 0.02 and is now 0.01: results may differ"
        good = ended.code == 0 and words in ended.err
        return None if good else f"exit code {ended.code}: {ended.err}"

    options = parity(folder / "run")
    shown = runner("parity", options, learning_rate=0.5, stop_after=12)
    warned = "--learning-rate was 0.003 and is now 0.5: the result will differ" in shown
    trials += [attempt(allowed), None if warned else shown]
    for changes in ({"batch_size": 5}, {"seed": 3}):
        flag = "--batch-size was 4" if "batch_size" in changes else "--seed was 0"
        resume = functools.partial(runner, "parity", options, **changes)
        trials.append(refused(resume, UserError, flag))
    return count(trials)


def another_text(folder: Path, quick: bool) -> Result:
    """Row 20."""
    corpus = folder / "corpus.txt"

    def trial(number: int, symbol: str) -> str | None:
        corpus.write_text(TEXT)
        own = folder / str(number)
        started = launch.here(own, steps=STEPS, corpus=str(corpus))
        place = number * 97 % len(TEXT)
        corpus.write_text(TEXT[:place] + symbol + TEXT[place + 1 :])
        ended = launch.here(own, steps=2 * STEPS, corpus=str(corpus))
        good = ended.code == 2 and "data was" in ended.err
        return None if good and started.code == 0 else f"{started}, {ended}"

    trials = [attempt(trial, n, "q") for n in range(1 if quick else 4)]
    trials.append(attempt(trial, 9, "#"))  # another vocabulary
    corpus.write_text(TEXT)
    shared = {"text": corpus, "chunk": 7, "embedding_size": 3, "stop_after": 10}
    options = small("char_lm", folder / "run", **shared)
    runner("char_lm", options)
    for changed, word in (("fix", "sha256"), ("f#x", "vocabulary")):
        corpus.write_text(TEXT.replace("fox", changed, 1))
        trials.append(
            refused(
                lambda: runner("char_lm", options, stop_after=15),
                UserError,
                "different data",
                word,
            )
        )
    return count(trials)


def another_dtype(folder: Path, quick: bool) -> Result:
    """Row 21."""
    words = ("dtype was 'float32' and is now 'bfloat16'",)
    trials = []
    if not quick:
        trials = [attempt(refuses, folder / "loop", {"dtype": "bfloat16"}, *words)]
    run = damage.saved(folder / "run", 1)
    like = damage.state(0)
    half = like._replace(
        params=jax.tree.map(lambda a: a.astype(jnp.bfloat16), like.params)
    )
    said = ("was 'float32[5, 20]' and is now 'bfloat16[5, 20]'", "cast=True")
    trials.append(refused(lambda: checkpoints.load(run, half), CheckpointError, *said))

    def cast() -> str | None:
        found = checkpoints.load(run, half, cast=True)
        want = jax.tree.map(lambda a: a.astype(jnp.bfloat16), damage.state(1).params)
        jax.tree.map(np.testing.assert_array_equal, found.params, want)
        kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(found.params)}
        return None if kinds == {"bfloat16"} else f"{kinds}"

    return count([*trials, attempt(cast)])


def another_optimizer(folder: Path, quick: bool) -> Result:
    """Row 22."""
    trials = []
    if not quick:
        words = ("optimizer was 'adam' and is now 'sgd'",)
        trials = [attempt(refuses, folder / "loop", {"optimizer": "sgd"}, *words)]
    run = damage.saved(folder / "run", 1)
    plain = damage.state(0)._replace(opt_state={"count": jnp.int32(0)})
    lacking = ("opt_state.count", "opt_state.0.mu", "leaves differ")
    trials.append(
        refused(lambda: checkpoints.load(run, plain), CheckpointError, *lacking)
    )
    return count(trials)
