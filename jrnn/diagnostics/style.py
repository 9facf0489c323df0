"""The style of figures: a palette, and settings for `matplotlib.style.use`."""

from typing import Any

from cycler import cycler

# The color-blind safe palette of Okabe and Ito.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
GRID: dict[str, Any] = {"color": "0.92", "linewidth": 0.8}

# The background is white and opaque: dark text on it is readable on paper and on a dark
# page. Figures are small, because notebooks keep them.
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "figure.figsize": (6.4, 3.4),
    "grid.color": GRID["color"],
    "grid.linewidth": GRID["linewidth"],
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "white",
}
