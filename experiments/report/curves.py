"""Curves of several runs: runs that differ only in their seed are one curve."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.report.records import Recorded
from experiments.run import results

BINS = 300  # points of a curve


def groups(runs: Sequence[Recorded]) -> list[list[Recorded]]:
    """Groups runs that differ only in their seed."""
    found: dict[str, list[Recorded]] = {}
    for run in runs:
        found.setdefault(run.like_results.kind, []).append(run)
    return list(found.values())


def names(kinds: Sequence[Sequence[Recorded]]) -> list[str]:
    """Returns the options in which groups differ, as names.

    Groups that do not differ in an option have the name of their first run.
    """
    given = [results.named(kind[0].run, {"seed"})[1] for kind in kinds]
    every = {name for options in given for name in options}
    differing = sorted(
        name
        for name in every
        if len({str(vars(kind[0].run.options)[name]) for kind in kinds}) > 1
    )
    found = []
    for kind in kinds:
        options = vars(kind[0].run.options)
        parts = [f"{name}={options[name]}" for name in differing]
        found.append(", ".join(parts) or kind[0].name)
    return found


def curves(kinds: Sequence[Sequence[Recorded]]) -> list[dict[str, Any]]:
    """Returns loss, norm and the clipped fraction of each group.

    Each is the mean over the seeds of the averages in up to 300 bins of updates, with
    the smallest and the largest of the seeds as a band.
    """
    return [
        {
            "name": name,
            "seeds": [run.run.options.seed for run in kind],
            "clip": kind[0].run.options.clip,
            "held_out": held_out(kind),
            **_group([run.metrics for run in kind if run.metrics]),
        }
        for name, kind in zip(names(kinds), kinds, strict=True)
    ]


def held_out(kind: Sequence[Recorded]) -> list[list[float]]:
    """Returns [step, loss] of held-out data, where samples were taken.

    The loss is the mean over the seeds; tasks that score something else have none.
    """
    found: dict[int, list[float]] = {}
    for run in kind:
        for row in run.samples:
            loss = _number(row.get("figures", {}).get("held_out_nats"))
            if np.isfinite(loss):
                found.setdefault(row["step"], []).append(loss)
    whole = {step: losses for step, losses in found.items() if len(losses) == len(kind)}
    return [[step, float(np.mean(whole[step]))] for step in sorted(whole)]


def _group(seeds: list[list[dict[str, Any]]]) -> dict[str, Any]:
    if not seeds:
        return {"x": []}
    last = max(rows[-1]["step"] for rows in seeds)
    number = min(BINS, *(len(rows) for rows in seeds)) if seeds else 0
    edges = np.linspace(0, last, number + 1)
    found: dict[str, Any] = {"x": _plain(edges[1:])}
    for name in ("loss", "norm", "clipped"):
        binned = np.stack([averages(rows, name, edges) for rows in seeds])
        seen = ~np.all(np.isnan(binned), axis=0)
        spread: dict[str, Any] = {
            "low": np.nanmin,
            "mean": np.nanmean,
            "high": np.nanmax,
        }
        found[name] = {}
        for part, reduce in spread.items():
            values = np.full(number, np.nan)
            values[seen] = reduce(binned[:, seen], axis=0)
            found[name][part] = _plain(values)
    return found


def averages(
    rows: Sequence[dict[str, Any]], name: str, edges: np.ndarray
) -> np.ndarray:
    """Returns the mean of a metric over the updates of each bin; NaN for an empty bin.

    Args:
      rows: Metrics, each at a step.
      name: The metric.
      edges: Steps, [bins + 1]; a row at an edge belongs to the bin before it.
    """
    steps = np.array([row["step"] for row in rows], float)
    values = np.array([_number(row.get(name)) for row in rows])
    place = np.clip(np.searchsorted(edges, steps) - 1, 0, len(edges) - 2)
    known = np.isfinite(values)
    sums = np.bincount(place[known], values[known], len(edges) - 1)
    counts = np.bincount(place[known], minlength=len(edges) - 1)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _plain(values: np.ndarray) -> list[float | None]:
    """Returns four digits of each value, as JSON can hold them."""
    return [float(f"{v:.4g}") if np.isfinite(v) else None for v in values]
