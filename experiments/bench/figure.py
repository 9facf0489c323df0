"""Plots time against T, B and H."""

import pathlib

from experiments import figures
from experiments.bench.report import curves, slope
from experiments.bench.rounds import Row


def draw(swept: list[Row], path: pathlib.Path, settings: str) -> None:
    """Saves a plot with one panel per axis, on logarithmic scales."""
    lines = curves(swept)
    axes = list(dict.fromkeys(axis for axis, _ in lines))
    title = "Time of the gradient of an LSTM, by time steps T, rows B and units H"
    size = (4 * len(axes), 3.8)
    figure, panels = figures.new(title, settings, len(axes), size)
    for panel, axis in zip(panels, axes, strict=True):
        for (name, peer), points in lines.items():
            if name == axis and len(points) > 1:
                x, y = zip(*points, strict=True)
                label = f"{peer}, slope {slope(points):.2f}"
                panel.loglog(x, [1e3 * v for v in y], "o-", label=label)
        panel.set(xlabel=axis, ylabel="milliseconds")
        panel.legend(frameon=False)
    figures.save(figure, path)
