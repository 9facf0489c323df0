"""Plots of states and gates."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jrnn.diagnostics.gates import Saturation
from jrnn.diagnostics.lyapunov import Lyapunov, memory_horizon
from jrnn.diagnostics.plots.figure import (
    colors,
    logarithmic,
    new_axes,
    plain,
    positive,
)
from jrnn.diagnostics.style import COLORS


def lyapunov(found: Lyapunov, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Plots the Lyapunov exponents and the convergence of their estimates.

    Args:
      found: One result of `diagnostics.lyapunov_spectrum`, without batch axes.
      axes: Two axes; None for a new figure.

    Returns:
      Both axes: the spectrum and the running estimates.

    Example:
      >>> from jrnn import diagnostics
      >>> running = np.array([[-0.4, -1.0], [-0.5, -2.0]])  # after 1 and 2 steps
      >>> found = diagnostics.Lyapunov(exponents=running[-1], running=running)
      >>> spectrum, convergence = lyapunov(found)
      >>> spectrum.get_title("left")
      'memory fades within 2 steps'
    """
    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    spectrum, convergence = map(plain, axes)
    exponents, running = np.asarray(found.exponents), np.asarray(found.running)
    chaos = np.where(exponents > 0, COLORS[1], COLORS[0])
    index = np.arange(1, len(exponents) + 1)
    spectrum.vlines(index, 0, exponents, colors=list(chaos), linewidth=1, alpha=0.5)
    spectrum.scatter(index, exponents, c=list(chaos), s=18, zorder=3)
    horizon = float(memory_horizon(exponents[0]))
    fading = f"memory fades within {horizon:.3g} steps"
    title = fading if np.isfinite(horizon) else "chaotic: gradients explode"
    spectrum.set_title(title, fontsize=10, loc="left")
    spectrum.set_xlabel("index i")
    spectrum.set_ylabel("exponent (nats per step)")
    spectrum.xaxis.set_major_locator(MaxNLocator(integer=True))
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, running.shape[-1]))
    for curve, shade in zip(running.T, shades, strict=True):
        convergence.plot(np.arange(1, len(curve) + 1), curve, color=shade, linewidth=1)
    convergence.set_xscale("log")
    convergence.set_xlabel("steps counted")
    convergence.set_ylabel("running estimate")
    for ax in (spectrum, convergence):
        ax.axhline(0, color="0.3", linewidth=0.8)
    return spectrum, convergence


def gate_saturation(found: Mapping[str, Saturation], ax: Axes | None = None) -> Axes:
    """Plots, for every unit, how often its gate is nearly open and nearly closed.

    Gates near the origin are rarely saturated. Gates on the diagonal are always
    saturated: open at the lower right, closed at the upper left, both in between.

    Args:
      found: Results of `diagnostics.gate_saturation`, by name of the gate.
      ax: The axes; None for a new figure.

    Returns:
      The axes.

    Example:
      >>> from jrnn import diagnostics
      >>> gate = np.array([[0.95, 0.5], [0.99, 0.01]])  # [time, units]
      >>> ax = gate_saturation({"forget": diagnostics.gate_saturation(gate)})
      >>> ax.get_legend().get_texts()[0].get_text()
      'forget   (mean 0.61)'
    """
    ax = new_axes(ax, (4.8, 4.6))
    for color, (name, gate) in zip(colors(len(found)), found.items(), strict=True):
        label = f"{name}   (mean {float(np.mean(gate.mean)):.2f})"
        ax.scatter(
            gate.open, gate.closed, s=30, color=color, alpha=0.6, lw=0, label=label
        )
    ax.plot([0, 1], [1, 0], color="0.6", linewidth=1, zorder=0)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set_xlabel("fraction of steps nearly open")
    ax.set_ylabel("fraction of steps nearly closed")
    ax.legend(frameon=False, title="gate")
    return ax


def half_lives(found: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Plots the number of units whose half-life is at least a given number of steps.

    Args:
      found: Results of `diagnostics.half_life`, [H], by name.
      ax: The axes; None for a new figure.

    Returns:
      The axes.

    Example:
      >>> ax = half_lives({"LSTM": [2.0, 8.0, 4.0]})
      >>> ax.get_lines()[0].get_xdata().tolist()
      [8.0, 4.0, 2.0]
    """
    ax = new_axes(ax)
    for color, (name, life) in zip(colors(len(found)), found.items(), strict=True):
        life = np.sort(np.asarray(life))[::-1]
        ax.plot(life, np.arange(1, len(life) + 1), color=color, lw=2, label=name)
    ax.set_xscale("log")
    ax.set_xlabel("half-life (steps)")
    ax.set_ylabel("units with at least that")
    ax.legend(frameon=False)
    return ax


def magnitudes(
    sequences: Mapping[str, Any], step: int = -1, ax: Axes | None = None
) -> Axes:
    """Plots the largest absolute value of each array at every step.

    Args:
      sequences: Arrays of one example, [T, ...], by name: inputs, states, outputs.
      step: The step from `diagnostics.first_nonfinite`, to be marked; -1 for none.
      ax: The axes; None for a new figure.

    Returns:
      The axes.

    Example:
      >>> ax = magnitudes({"states": [[1.0, -2.0], [3.0, 0.0], [np.inf, 0.0]]}, step=2)
      >>> ax.get_lines()[0].get_ydata().tolist()
      [2.0, 3.0, nan]
    """
    ax = new_axes(ax)
    pairs = zip(colors(len(sequences)), sequences.items(), strict=True)
    for color, (name, sequence) in pairs:
        values = np.abs(np.asarray(sequence, np.float64))
        largest = np.max(values.reshape(len(values), -1), axis=-1)
        ax.plot(positive(largest), color=color, linewidth=1.5, label=name)
    if step >= 0:
        ax.axvline(step, color=COLORS[1], linestyle="--")
        ax.annotate(
            f"not finite\nfrom step {step}",
            (step, 0.3),
            xycoords=ax.get_xaxis_transform(),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="top",
            color=COLORS[1],
        )
    return logarithmic(ax, "time step", "largest absolute value")


def parallelizable(found: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Plots iterations of Newton's method by the largest Lyapunov exponent.

    Args:
      found: Lists of results of `diagnostics.parallelizable`, by name. What did not
        converge is a cross.
      ax: The axes; None for a new figure.

    Returns:
      The axes.

    Example:
      >>> from jrnn import diagnostics
      >>> exponent, norms = np.array(-0.5), np.ones(3)
      >>> found = diagnostics.Parallelizable(exponent, norms, 4, True, "parallel", "")
      >>> ax = parallelizable({"GRU": [found]})
      >>> ax.collections[0].get_offsets().tolist()  # exponent and iterations
      [[-0.5, 4.0]]
    """
    ax = new_axes(ax)
    for color, (name, results) in zip(colors(len(found)), found.items(), strict=True):
        for marker, solved in (("o", True), ("x", False)):
            some = [r for r in results if r.converged == solved]
            at = [np.max(np.asarray(r.exponent)) for r in some]
            counts = [r.iterations for r in some]
            ax.scatter(at, counts, color=color, marker=marker, label=name * solved)
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.set(yscale="log", xlabel="largest Lyapunov exponent", ylabel="iterations")
    ax.legend(frameon=False)
    return ax
