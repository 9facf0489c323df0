"""The command `parity`: answers at lengths beyond those of training, as a figure."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments import figures
from experiments.command_line import parse
from experiments.errors import UserError, refuse
from experiments.run import folder, models, results
from experiments.run.options import out_of_range
from experiments.tasks.parity import TASK
from jrnn import forms

_ABOUT = """Plots how many answers of trained runs of `parity` are right, by the length
of the sequence. Lines of cells that are linear in their state are dashed. A line is the
median over the runs of a cell, and its band contains all of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parity:
    """Options of the command.

    Attributes:
      runs: Folders of runs of `train parity`, or folders of such folders.
      out: The file, which ends in .png, .svg or .pdf.
      longest: The longest sequences to answer.
      sequences: Number of sequences.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path = Path("parity.png")
    longest: int = 1024
    sequences: int = 500


def main(prog: str, arguments: list[str]) -> int:
    """Saves the figure, and prints the fractions as a table."""
    config = parse(Parity, prog, arguments, description=_ABOUT)
    figures.check(config.out)
    refuse(out_of_range(config, {"longest": 1, "sequences": 1}))
    paths = results.find(config.runs)
    for path in paths:
        if (name := folder.read(path).task.name) != "parity":
            raise UserError(f"{path} is a run of the task {name}, not parity.")
    lengths = lengths_up_to(config.longest)
    found: dict[str, list[np.ndarray]] = {}
    kept = []
    for path in paths:
        run, model, params = folder.trained(path)
        options = dataclasses.replace(run.options, length=lengths[-1])
        right = fractions(options, model, params, lengths, config.sequences)
        found.setdefault(run.options.cell, []).append(right)
        kept.append(run.options)
    figures.save(draw(found, lengths, kept, config.sequences), config.out)
    print(f"| cell | {' | '.join(map(str, lengths))} |")
    print("|---|" + "---|" * len(lengths))
    for cell, rows in found.items():
        middle = [f"{right:.0%}" for right in np.median(rows, axis=0)]
        print(f"| `{cell}` | {' | '.join(middle)} |")
    print(config.out)
    return 0


def lengths_up_to(longest: int) -> list[int]:
    """Returns lengths of which each is about twice the one before.

    Example:
      >>> lengths_up_to(100)
      [6, 12, 25, 50, 100]
    """
    halves = [longest >> shift for shift in range(longest.bit_length())]
    return [length for length in reversed(halves) if length >= 4] or [longest]


def fractions(
    options: Any, model: Any, params: Any, lengths: list[int], sequences: int
) -> np.ndarray:
    """Returns how many answers are right in the last quarter of each length."""
    right = np.asarray(answers(options, model, sequences, params))
    return np.array([right[n - (n + 3) // 4 : n].mean() for n in lengths])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def answers(options: Any, model: Any, sequences: int, params: Any) -> jax.Array:
    """Returns the fraction of sequences with the right answer at every step."""
    keys = jax.random.split(jax.random.key(2**31 - 2), sequences)
    bits, targets = jax.vmap(functools.partial(TASK.example, options))(keys)
    _, logits = model.apply(params, None, bits)
    return jnp.mean(jnp.argmax(logits, axis=-1) == targets, axis=0)


def draw(
    found: dict[str, list[np.ndarray]],
    lengths: list[int],
    kept: list[Any],
    sequences: int,
) -> Any:
    """Returns the figure."""
    one, trained = kept[0], sorted({options.length for options in kept})
    runs = max(map(len, found.values()))
    settings = (
        f"{one.hidden_size} units, trained for {one.budget[1]} updates of "
        f"{one.batch_size} sequences of {' or '.join(map(str, trained))} steps; right "
        f"answers in the last quarter of {sequences} new sequences; median and range "
        f"of {runs} runs of each cell; dashed: the state moves linearly"
    )
    title = "Parity of the bits so far, on sequences longer than in training"
    figure, (ax,) = figures.new(title, settings)
    for place, (cell, rows) in enumerate(found.items()):
        linear = isinstance(models.make_cell(_like(one, cell)).form, forms.Linear)
        style: dict[str, Any] = {"marker": "o", "linestyle": "--" if linear else "-"}
        style |= {"markerfacecolor": "none", "markersize": 14 - 2 * place}  # rings
        middle = np.median(rows, axis=0)
        (line,) = ax.plot(lengths, middle, label=cell, **style)
        edges = np.min(rows, axis=0), np.max(rows, axis=0)
        ax.fill_between(lengths, *edges, color=line.get_color(), alpha=0.15)
    for length in trained:
        ax.axvline(length, color="0.3", linewidth=0.8)
    ax.text(trained[0], 0.46, " length in training", color="0.3", fontsize=8)
    ax.set_xscale("log", base=2)
    ax.set_xticks(lengths, [str(length) for length in lengths])
    ax.set(xlabel="steps of the sequence", ylabel="fraction of right answers")
    ax.set_ylim(0.44, 1.02)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _like(options: Any, cell: str) -> Any:
    return dataclasses.replace(options, cell=cell)
