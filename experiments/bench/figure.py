"""Plots time against T, B and H."""

import pathlib

import matplotlib

from experiments.bench.report import curves, slope
from experiments.bench.rounds import Row

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "benchmarks"  # makes the file reproducible

from matplotlib import pyplot  # noqa: E402  after the choice of the backend


def draw(swept: list[Row], path: pathlib.Path) -> None:
    """Saves a plot with one panel per axis, on logarithmic scales."""
    lines = curves(swept)
    axes = list(dict.fromkeys(axis for axis, _ in lines))
    figure, panels = pyplot.subplots(
        1, len(axes), figsize=(4 * len(axes), 3.5), squeeze=False, layout="constrained"
    )
    for panel, axis in zip(panels[0], axes, strict=True):
        for (name, peer), points in lines.items():
            if name == axis and len(points) > 1:
                x, y = zip(*points, strict=True)
                label = f"{peer}, slope {slope(points):.2f}"
                panel.loglog(x, [1e3 * v for v in y], "o-", label=label)
        panel.set(xlabel=axis, ylabel="milliseconds")
        panel.legend()
        panel.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
