"""Numbers that are not finite: rows 27 to 33."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jrnn
from experiments.drill import damage, launch
from experiments.drill.rows import Result, attempt, count, refused
from experiments.run import models
from jrnn import training
from jrnn.training import checkpoints
from jrnn.training.checkpoints import CheckpointError, Checkpoints, files, folder

# Their states are unbounded, or their parameters are logarithms of eigenvalues.
UNBOUNDED = ("lru", "modrelurnn")
POISONS = (np.nan, np.inf, -np.inf)
ROWS, STEPS, SIZE = 3, 6, 4


def one_bad_batch(place: Path, quick: bool) -> Result:
    """Row 27."""

    def trial(step: int, dtype: str) -> str | None:
        own = place / f"{step}{dtype}"
        launch.here(own, steps=step, dtype=dtype)
        ended = launch.here(own, steps=step + 1, dtype=dtype, bad=(step,))
        lines = (own / "losses.jsonl").read_text().splitlines()
        counts = [json.loads(line)[3] for line in lines]
        if ended.code or f"skipped the update of step {step}" not in ended.err:
            return f"exit code {ended.code}: {ended.err}"
        if counts != [0] * step + [1]:
            return f"skipped so far: {counts}"
        before, after = (read(own, at) for at in (step, step + 1))
        moved = [
            name
            for name in before
            if name.startswith(("params", "opt_state.inner"))
            and before[name].tobytes() != after[name].tobytes()
        ]
        return f"{moved} changed" if moved else None

    cases = [(3, "float32"), (1, "float32"), (7, "float32"), (4, "bfloat16")]
    return count([attempt(trial, *case) for case in cases[: 1 if quick else 4]])


def read(run: Path, step: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a checkpoint."""
    path = folder.step_path(run, step)
    return files.parse(files.read(path, step, None, 1 << 30)[1])


def too_many_bad_batches(place: Path, quick: bool) -> Result:
    """Row 28: two in a row are allowed."""

    def trial(bad: tuple[int, ...], code: int) -> str | None:
        own = place / str(len(bad))
        ended = launch.here(own, steps=12, bad=bad)
        newest = checkpoints.inspect(own).step
        wrong = [k for k, a in read(own, newest).items() if not _is_finite(a)]
        if ended.code != code or wrong or newest != (12 if code == 0 else 5):
            return f"exit code {ended.code}, {wrong} at step {newest}: {ended.err}"
        return None

    cases = [((6, 7, 8), 3), ((6, 7), 0), (tuple(range(6, 12)), 3)]
    return count([attempt(trial, *case) for case in cases[: 1 if quick else 3]])


def infinite_gradient(place: Path, quick: bool) -> Result:
    """Row 29."""

    def program() -> str | None:
        ended = launch.here(place / "loop", steps=5, huge=(3,))
        wrong = [k for k, a in read(place / "loop", 5).items() if not _is_finite(a)]
        good = ended.code == 0 and not wrong and "update of step 3" in ended.err
        return None if good else f"exit code {ended.code}, {wrong}: {ended.err}"

    def step(name: str, entries: Iterable[float], applied: bool) -> str | None:
        tx = training.optimizer(getattr(optax, name)(0.1), clip=1.0)
        params = jnp.ones(3)
        updates, state = tx.update(jnp.array(entries), tx.init(params), params)
        params = optax.apply_updates(params, updates)
        if not _is_finite(params) or bool(jnp.any(params != 1)) != applied:
            return f"{name}: the gradient {entries} led to {params}"
        return None if int(state.skipped) == (not applied) else "not counted"

    inf = float("inf")
    gradients = [((1.0, inf, 0.0), False), ((-inf, inf, 1.0), False)]
    gradients += [((1e38, 1e38, -1e38), True), ((3e38, 1.0, 1e-38), True)]
    trials = [
        attempt(step, name, entries, applied)
        for name in ("adam", "sgd", "rmsprop", "lion")[: 1 if quick else 4]
        for entries, applied in gradients
    ]
    return count([*trials, attempt(program)])


@functools.partial(jax.jit, static_argnums=(0, 1))
def evaluate(cell: Any, method: str, params: Any, xs: Any, lengths: Any) -> Any:
    """Returns the outputs, the final state, and gradients of their sum."""

    def loss(params: Any, xs: Any) -> Any:
        state, ys = jrnn.scan(cell, params, None, xs, lengths=lengths, method=method)
        return jnp.sum(jnp.square(ys)), (state, ys)

    gradients, found = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, xs)
    return found, gradients


def _cells(quick: bool) -> dict[str, Any]:
    made = {name: make(SIZE) for name, make in models.cells().items()}
    return {k: v for k, v in made.items() if not quick or k in ("lstm", "minlstm")}


def _problem(cell: Any) -> tuple[Any, Any, Any]:
    xs = jax.random.normal(jax.random.key(1), (ROWS, STEPS, SIZE))
    return cell.init(jax.random.key(0), SIZE), xs, jnp.array([STEPS, 2, 3])


def saturated(place: Path, quick: bool) -> Result:
    """Row 30: all parameters and inputs times 1000."""
    del place

    def trial(name: str, cell: Any) -> str | None:
        params, xs, _ = _problem(cell)
        large = jax.tree.map(lambda a: 1e3 * a, (params, xs))
        found = evaluate(cell, "auto", *large, jnp.full(ROWS, STEPS))
        return None if _is_finite(found) else f"{name} is not finite"

    cells = {k: v for k, v in _cells(quick).items() if k not in UNBOUNDED}
    trials = [attempt(trial, name, cell) for name, cell in cells.items()]
    return count(trials, f"{len(cells)} cells, all but {', '.join(UNBOUNDED)}.")


def poisoned_padding(place: Path, quick: bool) -> Result:
    """Row 31."""
    del place

    def trial(cell: Any, method: str, poison: float) -> str | None:
        params, xs, lengths = _problem(cell)
        clean = evaluate(cell, method, params, xs, lengths)
        padded = jnp.arange(STEPS)[None, :, None] >= lengths[:, None, None]
        bad = evaluate(cell, method, params, jnp.where(padded, poison, xs), lengths)
        jax.tree.map(np.testing.assert_array_equal, bad, clean)
        return None if _is_finite(clean) else "the clean run is not finite"

    cells = _cells(quick)
    trials = [
        attempt(trial, cell, method, poison)
        for name, cell in cells.items()
        for method in (("auto", "scan") if name in ("lstm", "gru") else ("auto",))
        for poison in POISONS
    ]
    return count(trials, f"{len(cells)} cells.")


def state_with_nan(place: Path, quick: bool) -> Result:
    """Row 32: each leaf in turn."""
    leaves = [
        leaf for leaf in jax.tree.leaves(damage.state(0)._replace(key=())) if leaf.size
    ]
    inexact = [i for i, a in enumerate(leaves) if jnp.issubdtype(a.dtype, jnp.inexact)]

    def trial(index: int, poison: float, background: bool) -> str | None:
        run = place / f"{index}{poison}"
        good = damage.state(1)
        flat, kind = jax.tree.flatten(good)
        flat[index] = flat[index].at[(0,) * flat[index].ndim].set(poison)
        bad = jax.tree.unflatten(kind, flat)
        facts = {"config": {"hidden_size": 5}}
        with Checkpoints(run, facts, background=background) as store:
            store.save(1, good)
            wrong = refused(lambda: store.save(2, bad), CheckpointError, "not finite")
        return wrong or (None if damage.resumed(run) == (1, []) else "lost")

    trials = [
        attempt(trial, index, POISONS[index % 3], index % 2 == 1)
        for index in inexact[: 2 if quick else None]
    ]
    return count(trials, f"{len(inexact)} leaves.")


def all_masked(place: Path, quick: bool) -> Result:
    """Row 33."""
    del place, quick
    mask, labels = jnp.zeros((2, 3), bool), jnp.zeros((2, 3), int)
    logits = jnp.full((2, 3, 4), jnp.nan)
    losses = {
        "cross_entropy": lambda a: training.cross_entropy(a, labels, mask),
        "squared_error": lambda a: training.squared_error(a, jnp.ones(a.shape), mask),
        "mean_over_valid": lambda a: training.mean_over_valid(a[..., 0], mask),
    }

    def trial(name: str, values: Any) -> str | None:
        loss, gradient = jax.value_and_grad(losses[name])(values)
        good = float(loss) == 0 and not np.any(np.asarray(gradient))
        return None if good else f"{name}: {loss}, {gradient}"

    return count(
        [
            attempt(trial, name, a)
            for name in losses
            for a in (logits, jnp.ones(logits.shape))
        ]
    )


def _is_finite(tree: Any) -> bool:
    leaves = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return all(bool(jnp.all(jnp.isfinite(a))) for a in leaves)
