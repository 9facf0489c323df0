"""Plots of the diagnostics. Needs matplotlib: `pip install jrnn[viz]`.

Every function plots the result of one diagnostic on the given axes, or on a new figure,
and returns the axes. The caller sets the title and saves the figure. The notebooks
call `plt.style.use(plots.STYLE)` first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from jrnn.diagnostics.gates import Saturation
from jrnn.diagnostics.lyapunov import Lyapunov, memory_horizon
from jrnn.diagnostics.style import COLORS as COLORS, GRID, STYLE as STYLE


def gradient_by_lag(curves: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Plots the gradient norm by lag: the median and the 10 to 90 % quantile band.

    Args:
      curves: Results of `diagnostics.gradient_by_lag`, [*batch, T + 1], by name.
      ax: The axes; None for a new figure.

    Returns:
      The axes.

    Example:
      >>> ax = gradient_by_lag({"halves": [1.0, 0.5, 0.25], "stays": [1.0, 1.0, 1.0]})
      >>> ax.get_yscale()
      'log'
    """
    ax = _axes(ax)
    for color, (name, curve) in zip(_colors(len(curves)), curves.items(), strict=True):
        rows = np.asarray(curve).reshape(-1, np.shape(curve)[-1])
        low, middle, high = _positive(np.quantile(rows, [0.1, 0.5, 0.9], axis=0))
        lags = np.arange(rows.shape[-1])
        ax.fill_between(lags, low, high, color=color, alpha=0.15, linewidth=0)
        ax.plot(lags, middle, color=color, linewidth=2, label=name)
    ax.set_yscale("log")
    ax.set_xlabel("lag: steps back from the loss")
    ax.set_ylabel("norm of the gradient")
    ax.margins(x=0)
    ax.legend(frameon=False)
    return ax


def jacobian_norms(norms: Any, ax: Axes | None = None) -> Axes:
    """Plots the spectral norms of dh_t / dh_k as a heat map. White means one.

    Args:
      norms: One result of `diagnostics.jacobian_norms`, [T + 1, T + 1].
      ax: The axes; None for a new figure.

    Returns:
      The axes.
    """
    ax = _axes(ax)
    shown = _positive(np.asarray(norms, float))
    reach = max(10.0, np.nanmax(shown), 1 / np.nanmin(shown))
    image = ax.imshow(
        shown, cmap="RdBu_r", norm=LogNorm(1 / reach, reach), origin="lower"
    )
    ax.grid(visible=False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8)
    bar.set_label("spectral norm of $\\partial h_t / \\partial h_k$")
    ax.set_xlabel("earlier step k")
    ax.set_ylabel("later step t")
    return ax


def gradient_terms(terms: Any, ax: Axes | None = None) -> Axes:
    """Plots the contribution of each step to the gradient of each parameter.

    A dashed line shows the norm of the sum. It can be larger than every term, or much
    smaller if the terms cancel.

    Args:
      terms: One result of `diagnostics.gradient_terms`: a tree of [T, ...].
      ax: The axes; None for a new figure.

    Returns:
      The axes.
    """
    ax = _axes(ax)
    leaves = jax.tree_util.tree_leaves_with_path(terms)
    for color, (path, leaf) in zip(_colors(len(leaves)), leaves, strict=True):
        flat = np.asarray(leaf).reshape(len(leaf), -1)
        sizes = _positive(np.linalg.norm(flat, axis=-1))
        total = float(np.linalg.norm(flat.sum(axis=0)))
        name = jax.tree_util.keystr(path).lstrip(".")
        steps = np.arange(1, len(flat) + 1)
        ax.plot(steps, sizes, ".-", color=color, label=name)
        ax.axhline(total, color=color, linestyle="--", linewidth=1)
    ax.set_yscale("log")
    ax.set_xlabel("step k")
    ax.set_ylabel("norm of the contribution of step k (dashed: of the sum)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def lyapunov(found: Lyapunov, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Plots the Lyapunov exponents and the convergence of their estimates.

    Args:
      found: One result of `diagnostics.lyapunov_spectrum`, without batch axes.
      axes: Two axes; None for a new figure.

    Returns:
      Both axes: the spectrum and the running estimates.
    """
    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    spectrum, convergence = map(_plain, axes)
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
    """
    ax = _axes(ax, (4.8, 4.6))
    for color, (name, gate) in zip(_colors(len(found)), found.items(), strict=True):
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
    """
    ax = _axes(ax)
    for color, (name, life) in zip(_colors(len(found)), found.items(), strict=True):
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
    """
    ax = _axes(ax)
    pairs = zip(_colors(len(sequences)), sequences.items(), strict=True)
    for color, (name, sequence) in pairs:
        values = np.abs(np.asarray(sequence, np.float64))
        largest = np.max(values.reshape(len(values), -1), axis=-1)
        ax.plot(_positive(largest), color=color, linewidth=1.5, label=name)
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
    ax.set_yscale("log")
    ax.set_xlabel("time step")
    ax.set_ylabel("largest absolute value")
    ax.margins(x=0.02)
    ax.legend(frameon=False)
    return ax


def gradient_norms(curves: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Plots the norm of the gradient at every time step.

    Args:
      curves: Results of `diagnostics.tapped_norms`, [T], by name of the layer.
      ax: The axes; None for a new figure.

    Returns:
      The axes.
    """
    ax = _axes(ax)
    for color, (name, curve) in zip(_colors(len(curves)), curves.items(), strict=True):
        norms = _positive(np.asarray(curve))
        steps = np.arange(1, len(norms) + 1)
        ax.plot(steps, norms, color=color, linewidth=1.5, label=name)
    ax.set_yscale("log")
    ax.set_xlabel("time step")
    ax.set_ylabel("norm of the gradient of the loss in $h_t$")
    ax.margins(x=0.02)
    ax.legend(frameon=False)
    return ax


def parallelizable(found: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Plots iterations of Newton's method by the largest Lyapunov exponent.

    Args:
      found: Lists of results of `diagnostics.parallelizable`, by name. What did not
        converge is a cross.
      ax: The axes; None for a new figure.

    Returns:
      The axes.
    """
    ax = _axes(ax)
    for color, (name, results) in zip(_colors(len(found)), found.items(), strict=True):
        for marker, solved in (("o", True), ("x", False)):
            some = [r for r in results if r.converged == solved]
            at = [np.max(np.asarray(r.exponent)) for r in some]
            counts = [r.iterations for r in some]
            ax.scatter(at, counts, color=color, marker=marker, label=name * solved)
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.set(yscale="log", xlabel="largest Lyapunov exponent", ylabel="iterations")
    ax.legend(frameon=False)
    return ax


def _axes(ax: Axes | None, size: tuple[float, float] = (6.4, 4.0)) -> Axes:
    if ax is None:
        _, ax = plt.subplots(figsize=size, layout="constrained")
    return _plain(ax)


def _plain(ax: Axes) -> Axes:
    """Applies the common style."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(**GRID)
    ax.set_axisbelow(True)
    return ax


def _positive(values: np.ndarray) -> np.ndarray:
    """Replaces values that a logarithmic axis cannot show by NaN."""
    return np.where((values > 0) & np.isfinite(values), values, np.nan)


def _colors(number: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(number)]
