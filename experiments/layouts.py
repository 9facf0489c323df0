"""Times the choices of the gated kernel: the tables of `docs/kernels.md`."""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import jrnn
from experiments.bench.config import SIZES, Size, require_known, size_of
from experiments.bench.peers import jrnn as ours
from experiments.bench.worker import CLOCKS, timed
from experiments.command_line import parse
from experiments.errors import refuse
from experiments.run.options import out_of_range
from jrnn.kernels import Gated, Layout

_ABOUT = """Times the choices of the gated kernel, and the plain scan.

All choices for one size take turns in one process. A choice has the milliseconds of its
fastest call, then the median and the range of its ratios to "auto" in the same turn.
"auto" is what jrnn chooses. The last lines name the choices that were faster by more
than --margin."""

UNROLLS = (2, 4)
MODES = ("forward", "gradient")


@dataclasses.dataclass(frozen=True)
class Layouts:
    """Options of the command."""

    sizes: tuple[str, ...] = (*SIZES, "100,256,128,256")
    """Letters of the benchmark's sizes, or time,batch,inputs,hidden."""

    cells: tuple[str, ...] = ("lstm",)
    """Any of lstm, gru and elman."""

    modes: tuple[str, ...] = MODES
    """Any of forward and gradient (of the parameters)."""

    chunks: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Steps of a chunk, beside the whole sequence as one chunk."""

    rounds: int = 5
    """Number of turns of each choice."""

    calls: int = 2
    """Calls per turn. The fastest one counts."""

    processor_time: bool = False
    """Whether to count the processor time of all threads instead of the time that
    passes. Other programs disturb it less."""

    margin: float = 0.05
    """Part of the time by which a choice must be faster to be named at the end."""


def main(prog: str, arguments: list[str]) -> int:
    """Prints the tables."""
    config = parse(Layouts, prog, arguments, description=_ABOUT)
    refuse(out_of_range(config, {"chunks": 1, "rounds": 1, "calls": 1}))
    for name, known in (("cells", ours.CELLS), ("modes", MODES)):
        require_known(name, getattr(config, name), tuple(known))
    clock = CLOCKS["processor" if config.processor_time else "wall"]
    sizes = {text: size_of(text) for text in config.sizes}
    named, cases = [], itertools.product(config.cells, sizes.items(), config.modes)
    for cell, (text, size), mode in cases:
        runs = {
            name: _compiled(cell, how, size, mode)
            for name, how in choices(size.time, config.chunks, mode).items()
        }
        found = turns(runs, config.rounds, config.calls, clock)
        print(f"\n{cell} {mode} at {text}:\n\n| choice | ms | ratio to auto |")
        print("| --- | --: | --: |")
        for name, seconds in found.items():
            ratios = [a / b for a, b in zip(seconds, found["auto"], strict=True)]
            told = spread(ratios)
            print(f"| {name} | {1e3 * min(seconds):.1f} | {told} |", flush=True)
            if statistics.median(ratios) < 1 - config.margin:
                named.append(f"{cell} {mode} at {text}: {name}, {told}")
    print(f"\nFaster than auto by more than {config.margin:.0%}: {len(named)}")
    print("".join(f"  {line}\n" for line in named), end="")
    return 0


def choices(
    steps: int, chunks: tuple[int, ...], mode: str
) -> dict[str, dict[str, Any]]:
    """Returns arguments of `jrnn.scan` by the name of the choice."""
    layouts = {f"chunk {n}": Layout(n) for n in (*chunks, steps) if n <= steps}
    if mode == "gradient":
        again = {n: layout._replace(save=False) for n, layout in layouts.items()}
        layouts |= {f"{name} recomputed": layout for name, layout in again.items()}
    layouts["joint"] = Layout(steps, joint=True)
    return {
        "auto": {},
        "scan": {"method": "scan"},
        **{f"unroll {n}": {"unroll": n} for n in UNROLLS},
        **{name: {"method": Gated(layout)} for name, layout in layouts.items()},
    }


def _compiled(
    name: str, how: dict[str, Any], size: Size, mode: str
) -> Callable[[], Any]:
    cell = ours.CELLS[name](size.hidden)
    params = cell.init(jax.random.key(0), size.inputs)
    xs = jax.random.normal(jax.random.key(1), (size.batch, size.time, size.inputs))

    def run(params: Any, xs: Any) -> jax.Array:
        return jrnn.scan(cell, params, None, xs, **how)[1]

    def loss(params: Any, xs: Any) -> jax.Array:
        return jnp.sum(jnp.square(run(params, xs)))

    function = jax.grad(loss) if mode == "gradient" else run
    compiled = jax.jit(function).lower(params, xs).compile()
    return lambda: jax.block_until_ready(compiled(params, xs))


def spread(ratios: list[float]) -> str:
    """Returns the median and the range."""
    middle = statistics.median(ratios)
    return f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def turns(
    runs: dict[str, Callable[[], Any]],
    rounds: int,
    calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Returns the fastest call of each turn, in seconds; the runs take turns."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):  # the first is a warm-up
        for name, run in runs.items():
            best = min(timed(run, clock) for _ in range(calls))
            if turn:
                found[name].append(best)
    return found
