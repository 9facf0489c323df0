"""Section H of the drill: what the library promises."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import test_util

import jrnn
from experiments.drill import launch
from experiments.drill.rows import Result, Row, count
from experiments.drill.shapes import CELLS, differ, each, random, setting
from experiments.drill.suite import suite
from experiments.run import models
from jrnn import training

RECORDED = ["tests/conformance", "-k", "recorded_cases or literals"]
GRADIENTS = [f"tests/conformance/test_{name}.py" for name in ("torch", "flax", "keras")]
FEW = "tests/test_scan.py", "tests/test_numerics.py"
PLANTED, NOTICED = 20, 19
STEPS, CHUNK = 7, 3


def programs(cell: Any) -> str | None:
    """One scan with and without jit, vmap and unrolled loops."""
    params, state, xs = setting(cell)
    run = lambda p, s, x, **how: jrnn.scan(cell, p, s, x, **how)  # noqa: E731
    expected = run(params, state, xs)
    with jax.disable_jit():
        plain = run(params, state, xs)
    return (
        differ(jax.jit(run)(params, state, xs), expected, 1e-6)
        or differ(plain, expected, 1e-6)
        or differ(jax.vmap(run, (None, 0, 0))(params, state, xs), expected, 1e-6)
        or differ(run(params, state, xs, unroll=3), expected, 1e-6)
    )


def truncated(cell: Any) -> str | None:
    """Truncation that covers all steps, and a run in chunks, in 64 bits."""
    with jax.enable_x64(True):
        layer = jrnn.Recurrent(cell)
        params = random(layer.init(jax.random.key(0), 2), 1)
        state = random(layer.initial_state(params, (3,)), 2)
        xs = random(jnp.zeros((3, STEPS, 2)), 3)
        targets = random(jnp.zeros((3, STEPS, cell.output_size)), 4)
        found = [
            training.value_and_grad(layer, training.squared_error, method)(
                params, state, xs, targets
            )
            for method in (
                training.BPTT(),
                training.TBPTT(STEPS),
                training.TBPTT(STEPS + 5),
            )
        ]
        whole = layer.apply(params, state, xs)
        middle, first = layer.apply(params, state, xs[:, :CHUNK])
        final, second = layer.apply(params, middle, xs[:, CHUNK:])
        chunks = final, jnp.concatenate([first, second], 1)
        return (
            differ(found[1], found[0], 1e-12)
            or differ(found[2], found[0], 1e-12)
            or differ(chunks, whole, 1e-12)
        )


def second_derivatives(name: str) -> str | None:
    """First and second derivatives of a cell against differences, in 64 bits."""
    with jax.enable_x64(True):
        cell = models.cells()[name](4)
        size = cell.output_size or 4
        params = random(cell.init(jax.random.key(0), size), 1)
        state = random(cell.initial_state(params, (1,)), 2)
        xs = random(jnp.zeros((1, 3, size)), 3)

        def run(params: Any, state: Any, xs: Any) -> Any:
            final, ys = jrnn.scan(cell, params, state, xs)
            leaves = [a for a in jax.tree.leaves((final, ys)) if a.dtype.kind == "f"]
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves)

        places, tree = jax.tree.flatten((params, state, xs))
        floats = [i for i, leaf in enumerate(places) if leaf.dtype.kind == "f"]

        def loss(chosen: Any) -> Any:
            leaves = list(places)
            for i, leaf in zip(floats, chosen, strict=True):
                leaves[i] = leaf
            return run(*jax.tree.unflatten(tree, leaves))

        given = ([places[i] for i in floats],)
        test_util.check_grads(loss, given, 2, ["fwd", "rev"], atol=1e-4, rtol=1e-4)
    return None


_PLANT = """
import sys
from tests import plant
number = int(sys.argv[1])
plant.FAULTS = list(plant.FAULTS)[:: max(1, len(plant.FAULTS) // number)][:number]
plant.main([])
"""


def planted(folder: Path, quick: bool) -> Result:
    """Plants bugs in a copy of the library and runs the tests that must notice."""
    del folder
    number = 3 if quick else PLANTED
    ended = subprocess.run(
        [sys.executable, "-c", _PLANT, str(number)],
        cwd=launch.REPOSITORY,
        capture_output=True,
        text=True,
    )
    found = re.findall(r"^(caught|MISSED)  (.*)$", ended.stdout, re.MULTILINE)
    missed = [name for what, name in found if what == "MISSED"]
    passed = len(found) == number and len(missed) <= PLANTED - NOTICED
    shown = f"missed: {missed}" if missed else ended.stderr[-300:]
    return Result(passed, len(found), len(missed), shown)


def again(folder: Path, quick: bool) -> Result:
    """Trains twice, in new processes, on one core and on all."""
    steps = 5 if quick else 20
    all_cores, results = os.sched_getaffinity(0), []
    for number, cores in enumerate((all_cores, all_cores, {min(all_cores)})):
        os.sched_setaffinity(0, cores)  # of this thread, and of what it starts
        try:
            ended = launch.train(folder / str(number), steps=steps)
        finally:
            os.sched_setaffinity(0, all_cores)
        results.append(ended.result if not ended.code else {"error": ended.err[-300:]})
    cell = CELLS[0]
    args = setting(cell)
    run = jax.jit(lambda *args: jrnn.scan(cell, *args))
    trials = [differ(run(*args), run(*args))]
    for other in results[1:]:
        same = other == results[0] and "error" not in other
        trials.append(None if same else f"{other} instead of {results[0]}")
    return count(trials)


ROWS = (
    Row(
        66,
        "H",
        "outputs recorded from other libraries",
        "equal within the tolerance of each case",
        suite(*RECORDED),
    ),
    Row(
        67,
        "H",
        "gradients recorded from other libraries",
        "equal within the tolerance of each case",
        suite(*GRADIENTS, "-k", "recorded_cases"),
    ),
    Row(
        68,
        "H",
        "training runs recorded from PyTorch",
        "losses, norms and final weights within 1e-5",
        suite("tests/conformance/test_torch_training.py"),
    ),
    Row(
        69,
        "H",
        "with and without `jit`, `vmap` and `unroll`",
        "equal, or within 1e-6 as documented",
        each(programs),
    ),
    Row(
        70,
        "H",
        "truncation after T or more steps, and a run in chunks",
        "the full gradient, and the values of one long run, within 1e-12",
        each(truncated),
    ),
    Row(
        71,
        "H",
        "second derivatives of every cell in float64",
        "equal to differences",
        each(second_derivatives, models.cells()),
    ),
    Row(
        72,
        "H",
        "20 bugs planted in the library",
        "its tests notice at least 19",
        planted,
    ),
    Row(
        73,
        "H",
        "a second run, another process, another number of cores",
        "equal bit for bit",
        again,
    ),
    Row(
        74,
        "H",
        "the tests with x64, `jax_enable_checks`, `jax_debug_nans` and "
        "`jax.checking_leaks`",
        "pass",
        suite("tests", "-n", "auto", quick=FEW, JRNN_STRICT="1"),
    ),
)
