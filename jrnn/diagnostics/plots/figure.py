"""What all plots share: axes in one style, colors, and values for logarithmic axes."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from jrnn.diagnostics.style import COLORS, GRID


def new_axes(ax: Axes | None, size: tuple[float, float] = (6.4, 4.0)) -> Axes:
    """Returns the axes in the common style, or those of a new figure for None."""
    if ax is None:
        _, ax = plt.subplots(figsize=size, layout="constrained")
    return plain(ax)


def plain(ax: Axes) -> Axes:
    """Applies the common style."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(**GRID)
    ax.set_axisbelow(True)
    return ax


def positive(values: np.ndarray) -> np.ndarray:
    """Replaces values that a logarithmic axis cannot show by NaN."""
    return np.where((values > 0) & np.isfinite(values), values, np.nan)


def logarithmic(ax: Axes, x: str, y: str, margin: float = 0.02) -> Axes:
    """Gives axes of curves a logarithmic axis, labels and a legend."""
    ax.set_yscale("log")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.margins(x=margin)
    ax.legend(frameon=False)
    return ax


def colors(number: int) -> list[str]:
    """Returns one color for each curve."""
    return [COLORS[i % len(COLORS)] for i in range(number)]
