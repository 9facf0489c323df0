"""Plots the gradient norm by lag: the plot of `docs/gradients.md`."""

import dataclasses
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments import figures
from experiments.command_line import parse
from experiments.errors import refuse
from experiments.run.options import out_of_range
from jrnn import diagnostics
from jrnn.diagnostics import plots

_ABOUT = """Plots the gradient norm by lag for networks at initialization.

The loss is the sum of the last output, and the inputs are white noise. Lines are
medians over seeds and sequences. Bands contain 80 % of them."""


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Options of the command.

    Attributes:
      out: The file of the plot.
      hidden: Number of hidden units of every network.
      inputs: Number of input features.
      steps: Number of time steps, which is the longest lag.
      seeds: Number of networks of each kind.
      sequences: Number of sequences for each network.
    """

    out: pathlib.Path = pathlib.Path("gradient_flow.png")
    hidden: int = 64
    inputs: int = 16
    steps: int = 100
    seeds: int = 8
    sequences: int = 8


def main(prog: str, arguments: list[str]) -> int:
    """Saves the plot and prints how fast gradients vanish."""
    config = parse(GradientFlow, prog, arguments, description=_ABOUT)
    counts = ["hidden", "inputs", "steps", "seeds", "sequences"]
    refuse(out_of_range(config, dict.fromkeys(counts, 1)))
    figures.check(config.out)
    curves = {name: flow(cell, config) for name, cell in cells(config.hidden).items()}
    settings = (
        f"{config.hidden} units, {config.inputs} inputs of white noise, median and "
        f"80 % of {config.seeds} networks at initialization, {config.sequences} "
        "sequences each; the loss is the sum of the last output"
    )
    title = "How the gradient shrinks with the lag"
    figure, (ax,) = figures.new(title, settings)
    plots.gradient_by_lag(curves, ax)
    figures.save(figure, config.out)
    for name, curve in curves.items():
        steps = float(diagnostics.memory_horizon(jnp.asarray(slope(curve))))
        fading = f"shrinks by a factor of e every {steps:.3g} steps"
        print(f"{name:<22}{fading if np.isfinite(steps) else 'does not shrink'}")
    print(config.out)
    return 0


def cells(hidden: int) -> dict[str, jrnn.Cell]:
    """Returns the cells to compare, by their name in the plot."""
    return {
        "Elman": jrnn.Elman(hidden),
        "GRU": jrnn.GRU(hidden),
        "LSTM": jrnn.LSTM(hidden),
        "LSTM, forget bias 3": jrnn.LSTM(hidden, forget_bias=3.0),
    }


def flow(cell: jrnn.Cell, config: GradientFlow) -> np.ndarray:
    """Returns gradient norms by lag, [seeds, sequences, steps + 1]."""
    shape = (config.sequences, config.steps, config.inputs)

    @jax.jit
    def one(seed: jax.Array) -> jax.Array:
        key_params, key_xs = jax.random.split(jax.random.key(seed))
        params = cell.init(key_params, config.inputs)
        xs = jax.random.normal(key_xs, shape)
        return diagnostics.gradient_by_lag(cell, params, None, xs)

    return np.asarray(jax.lax.map(one, jnp.arange(config.seeds)))


def slope(curve: np.ndarray) -> float:
    """Returns the slope of the log median norm over the second half of the lags."""
    middle = np.log(np.median(curve.reshape(-1, curve.shape[-1]), axis=0))
    start = len(middle) // 2
    later = middle[start - 1 :]
    return float(np.polyfit(np.arange(len(later)), later, deg=1)[0])


if __name__ == "__main__":
    sys.exit(main("python -m experiments.gradient_flow", sys.argv[1:]))
