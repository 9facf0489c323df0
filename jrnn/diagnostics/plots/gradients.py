"""Plots of gradients through time."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from jrnn.diagnostics.plots.figure import colors, logarithmic, new_axes, positive


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
    ax = new_axes(ax)
    for color, (name, curve) in zip(colors(len(curves)), curves.items(), strict=True):
        rows = np.asarray(curve).reshape(-1, np.shape(curve)[-1])
        low, middle, high = positive(np.quantile(rows, [0.1, 0.5, 0.9], axis=0))
        lags = np.arange(rows.shape[-1])
        ax.fill_between(lags, low, high, color=color, alpha=0.15, linewidth=0)
        ax.plot(lags, middle, color=color, linewidth=2, label=name)
    return logarithmic(
        ax, "lag: steps back from the loss", "norm of the gradient", margin=0
    )


def jacobian_norms(norms: Any, ax: Axes | None = None) -> Axes:
    """Plots the spectral norms of dh_t / dh_k as a heat map. White means one.

    Args:
      norms: One result of `diagnostics.jacobian_norms`, [T + 1, T + 1].
      ax: The axes; None for a new figure.

    Returns:
      The axes.

    Example:
      >>> t, k = np.indices((4, 4))
      >>> ax = jacobian_norms(np.where(t >= k, 0.5 ** (t - k), 0.0))
      >>> ax.get_xlabel(), ax.get_ylabel()
      ('earlier step k', 'later step t')
    """
    ax = new_axes(ax)
    shown = positive(np.asarray(norms, float))
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

    Example:
      >>> ax = gradient_terms({"w": np.array([[3.0, 4.0], [-3.0, -1.0]])})
      >>> ax.get_lines()[0].get_ydata().round(2).tolist()  # norms of two contributions
      [5.0, 3.16]
    """
    ax = new_axes(ax)
    leaves = jax.tree_util.tree_leaves_with_path(terms)
    for color, (path, leaf) in zip(colors(len(leaves)), leaves, strict=True):
        flat = np.asarray(leaf).reshape(len(leaf), -1)
        sizes = positive(np.linalg.norm(flat, axis=-1))
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


def gradient_norms(curves: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Plots the norm of the gradient at every time step.

    Args:
      curves: Results of `diagnostics.tapped_norms`, [T], by name of the layer.
      ax: The axes; None for a new figure.

    Returns:
      The axes.

    Example:
      >>> ax = gradient_norms({"layer 0": [0.5, 1.0], "layer 1": [0.2, 0.9]})
      >>> [text.get_text() for text in ax.get_legend().get_texts()]
      ['layer 0', 'layer 1']
    """
    ax = new_axes(ax)
    for color, (name, curve) in zip(colors(len(curves)), curves.items(), strict=True):
        norms = positive(np.asarray(curve))
        steps = np.arange(1, len(norms) + 1)
        ax.plot(steps, norms, color=color, linewidth=1.5, label=name)
    return logarithmic(ax, "time step", "norm of the gradient of the loss in $h_t$")
