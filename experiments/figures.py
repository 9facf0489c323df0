"""Figures of the experiments: one palette, a title, and the settings below.

They are drawn without pyplot, so no window and no backend is involved.
"""

import io
import textwrap
from pathlib import Path

from experiments.errors import UserError
from experiments.run import disk
from jrnn.interop import files

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jrnn.diagnostics.plots import COLORS
except ImportError:
    raise UserError("figures need matplotlib: `pip install 'jrnn[viz]'`.") from None

ENDINGS = ("png", "svg", "pdf")
_WIDTH = 110  # characters of the settings in a line, for a figure of 7 inches


def new(
    title: str, settings: str, panels: int = 1, size: tuple[float, float] = (7, 4.2)
) -> tuple[Figure, list[Axes]]:
    """Returns a figure with panels beside each other.

    Args:
      title: What is shown, in words.
      settings: How it was made, such as a command.
      panels: The number of panels.
      size: Width and height in inches.
    """
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for ax in axes:
        ax.set_prop_cycle(color=COLORS)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="0.92", linewidth=0.8)
        ax.set_axisbelow(True)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    below = textwrap.fill(settings, round(_WIDTH * size[0] / 7), break_on_hyphens=False)
    figure.supxlabel(below, x=0.01, ha="left", fontsize=7, color="0.4")
    return figure, axes


def check(path: Path) -> None:
    """Checks the name of the file of a figure, before it is computed.

    Raises:
      UserError: If there is no such format.
    """
    if path.suffix.lstrip(".") not in ENDINGS:
        raise UserError(f"--out must end in .{', .'.join(ENDINGS)}, got {path}.")


def save(figure: Figure, path: Path) -> None:
    """Writes a figure. Equal figures give equal files."""
    check(path)
    kind, data = path.suffix.lstrip("."), io.BytesIO()
    nothing = {"png": "Software", "svg": "Date", "pdf": "CreationDate"}[kind]
    with matplotlib.rc_context({"svg.hashsalt": "jrnn"}):
        figure.savefig(data, format=kind, dpi=150, metadata={nothing: None})
    with disk.writing(path, data.tell()):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, [data.getvalue()])
