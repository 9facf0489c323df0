"""Times the layouts of the gated kernel: the tables of `docs/kernels.md`."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import jrnn
from experiments.bench.config import Size
from experiments.command_line import parse
from jrnn.kernels import Gated, Layout

_ABOUT = """Times layouts of the gated kernel for an LSTM.

Layouts of one size take turns in one process. A number is the fastest call, in
milliseconds. "auto" is the layout that the kernel chooses."""

CHUNKS = {
    "128, 32, 128, 128": (8, 16, 32, 128),
    "128, 16, 256, 512": (8, 16, 32, 64),
    "512, 64, 64, 256": (8, 16, 32, 64),
    "100, 128, 28, 128": (4, 10, 20, 100),
    "100, 256, 128, 256": (4, 10, 20, 50),
}


@dataclasses.dataclass(frozen=True)
class Layouts:
    """Options of the command."""

    sizes: tuple[str, ...] = tuple(CHUNKS)
    """Time, batch, inputs and units, in rows of the tables."""

    rounds: int = 7
    """How often the layouts take turns."""


def main(prog: str, arguments: list[str]) -> int:
    """Prints the tables."""
    config = parse(Layouts, prog, arguments, description=_ABOUT)
    for size in config.sizes:
        time_, batch, inputs, units = map(int, size.split(","))
        for mode, layouts in _choices(size, time_).items():
            runs = {
                name: _compiled(layout, Size(time_, batch, inputs, units), mode)
                for name, layout in layouts.items()
            }
            found = turns(runs, config.rounds)
            row = " | ".join(f"{name} {ms:.1f}" for name, ms in found.items())
            print(f"| {size} | {mode} | {row} |", flush=True)
    return 0


def _choices(size: str, steps: int) -> dict[str, dict[str, Layout | None]]:
    """Returns the layouts to compare, for the gradient and for values."""
    chunks = CHUNKS.get(size, (8, 16, 32, 64))
    kept = {f"{n}": Layout(n) for n in chunks}
    again = {f"{n} recomputed": Layout(n, save=False) for n in chunks}
    values = {"separate": Layout(chunks[1]), "joint": Layout(steps, joint=True)}
    auto: dict[str, Layout | None] = {"auto": None}
    return {"gradient": auto | kept | again, "forward": auto | values}


def _compiled(layout: Layout | None, size: Size, mode: str) -> Callable[[], Any]:
    cell = jrnn.LSTM(size.hidden)
    params = cell.init(jax.random.key(0), size.inputs)
    xs = jax.random.normal(jax.random.key(1), (size.batch, size.time, size.inputs))

    def loss(params: Any) -> jax.Array:
        _, ys = jrnn.scan(cell, params, None, xs, method=Gated(layout))
        return jnp.sum(jnp.square(ys))

    function = jax.grad(loss) if mode == "gradient" else loss
    compiled = jax.jit(function).lower(params).compile()
    return lambda: jax.block_until_ready(compiled(params))


def turns(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Returns the fastest of calls that take turns, in milliseconds."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds + 1):  # the first is a warm-up, and never the fastest
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best
