"""Measures computing all time steps at once: the tables of `docs/parallel.md`."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.bench.config import require_known
from experiments.command_line import parse
from experiments.errors import refuse
from experiments.layouts import turns
from experiments.run.options import out_of_range
from jrnn import diagnostics
from jrnn.kernels import Parallel

_ABOUT = """Measures Newton's method and linear recurrences over time.

Tables: "iterations" by recurrent gain, "windows" for hard cases, "accuracy" of linear
recurrences in float32, "speed" and memory beside a loop on this machine. Counts and
errors are the same on every machine; times are not."""

GAINS = (0.5, 1.0, 1.5, 2.0, 3.0)
CELLS: dict[str, Any] = {
    "GRU": jrnn.GRU(8),
    "Elman": jrnn.Elman(8),
    "ParaGRU": jrnn.ParaGRU(8),
}
HARD = (("GRU", 3.0), ("Elman", 2.0), ("Elman", 3.0), ("ParaGRU", 3.0))
MOST = 150  # iterations


@dataclasses.dataclass(frozen=True)
class Measure:
    """Options of the command."""

    tables: tuple[str, ...] = ("iterations", "windows", "accuracy", "speed")
    """Which tables to print."""

    seeds: int = 20
    """Number of random networks for each gain."""

    rounds: int = 7
    """How often the ways to compute take turns, in "speed"."""

    plot: pathlib.Path | None = None
    """Where to write a picture of the iterations by exponent."""


def main(prog: str, arguments: list[str]) -> int:
    """Prints the tables."""
    config = parse(Measure, prog, arguments, description=_ABOUT)
    refuse(out_of_range(config, {"seeds": 1, "rounds": 1}))
    print_table = {f.__name__: f for f in (iterations, windows, accuracy, speed)}
    require_known("tables", config.tables, tuple(print_table))
    for name in config.tables:
        for line in print_table[name](config):
            print(line, flush=True)
        print(flush=True)
    return 0


def network(cell: Any, gain: float, seed: int, steps: int = 512) -> tuple[Any, Any]:
    """Returns parameters with random recurrent weights of a gain, and inputs.

    Everything is drawn by numpy, so that other programs can draw the same.
    """
    rng = np.random.default_rng(seed)
    params = cell.init(jax.random.key(0), 8, jnp.float64)  # shapes, and biases
    scale = 8**-0.5 if params.w_h.ndim > 1 else 1.0  # a unit of a ParaGRU has one input
    params = params._replace(
        w_h=jnp.asarray(gain * scale * rng.standard_normal(params.w_h.shape)),
        w_x=jnp.asarray(8**-0.5 * rng.standard_normal(params.w_x.shape)),
    )
    return params, jnp.asarray(rng.standard_normal((steps, 8)))


def networks(cell: Any, gains: Sequence[float], seeds: int) -> tuple[Any, Any]:
    """Returns the networks of some gains and seeds, gains first, stacked."""
    each = [network(cell, gain, seed) for gain in gains for seed in range(seeds)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


@functools.partial(jax.jit, static_argnums=0)
def count(cell: Any, params: Any, xs: Any) -> Any:
    """Returns iterations of each network; those that failed took `MOST`."""
    method = Parallel(1e-10, max_iterations=MOST)

    def one(params: Any, xs: Any) -> Any:
        info = jrnn.parallel_info(cell, params, None, xs, method=method)
        return jnp.where(info.converged, info.iterations, MOST)[0]

    return jax.vmap(one)(params, xs)


@functools.partial(jax.jit, static_argnums=0)
def largest_exponents(cell: Any, params: Any, xs: Any) -> Any:
    """Returns the largest Lyapunov exponent of each network."""

    def one(params: Any, xs: Any) -> Any:
        spectrum = diagnostics.lyapunov_spectrum(cell, params, None, xs, exponents=1)
        return spectrum.exponents[0]

    return jax.vmap(one)(params, xs)


def iterations(config: Measure) -> Iterator[str]:
    """Counts iterations to a residual of 1e-10, by cell and gain."""
    yield "| cell | gain | largest exponent | iterations: median (least to most) |"
    yield "|---|---|---|---|"
    found: dict[str, list[Any]] = {}
    with jax.enable_x64(True):
        for name, cell in CELLS.items():
            nets = networks(cell, GAINS, config.seeds)
            counts = np.asarray(count(cell, *nets))
            exponents = np.asarray(largest_exponents(cell, *nets))
            found[name] = [
                diagnostics.Parallelizable(
                    exponent, jnp.zeros(0), number, number < MOST, "", ""
                )
                for exponent, number in zip(exponents, counts, strict=True)
            ]
            rows = (np.split(a, len(GAINS)) for a in (exponents, counts))
            for gain, exponent, row in zip(GAINS, *rows, strict=True):
                span = f"{shown(min(row))} to {shown(max(row))}"
                middle = shown(int(np.median(row)))
                mean = f"{np.mean(exponent):.2f}"
                yield f"| {name} | {gain} | {mean} | {middle} ({span}) |"
    if config.plot is not None:
        draw(found, config.plot)


def draw(found: dict[str, list[Any]], path: pathlib.Path) -> None:
    """Writes a picture of the iterations by exponent."""
    from experiments import figures  # noqa: PLC0415  only where it is asked for
    from jrnn.diagnostics import plots  # noqa: PLC0415

    figure, (ax,) = figures.new(
        "Iterations of Newton's method by the largest Lyapunov exponent",
        f"512 steps of 8 units, to a residual of 1e-10; recurrent gains {GAINS}; a "
        "cross did not converge",
    )
    plots.parallelizable(found, ax)
    figures.save(figure, path)


def shown(count: int) -> str:
    """Returns a number of iterations, of which the largest means failure."""
    return f">{MOST}" if count >= MOST else str(count)


def windows(config: Measure) -> Iterator[str]:
    """Compares all steps at once with windows, for networks that are hard."""
    del config
    lengths = (512, 64, 16)
    heads = " | ".join(f"windows of {length}" for length in lengths[1:])
    yield f"| network, 512 steps: sweeps, levels | all | {heads} | halved to 16 |"
    yield "|---|---|" + "---|" * len(lengths)
    with jax.enable_x64(True):
        for name, gain in HARD:
            cell = CELLS[name]
            params, xs = network(cell, gain, 0)
            row = []
            for length in lengths:
                method = Parallel(1e-10, max_iterations=MOST, window=length)
                info = jrnn.parallel_info(cell, params, None, xs, method=method)
                row.append(Work().add(int(jnp.sum(info.iterations)), length))
            row.append(halved(cell, params, None, xs))
            yield f"| {name}, gain {gain} | {' | '.join(map(str, row))} |"


@dataclasses.dataclass(frozen=True)
class Work:
    """What iterations cost, and how many steps a loop computed."""

    sweeps: float = 0.0  # iterations of all 512 steps
    levels: int = 0  # of trees that follow each other
    steps: int = 0  # of a loop

    def add(self, iterations: int, length: int) -> "Work":
        """Adds iterations that solve so many steps."""
        deep = iterations * 2 * round(math.log2(length))
        sweeps = self.sweeps + iterations * length / 512
        return Work(sweeps, self.levels + deep, self.steps)

    def __str__(self) -> str:
        looped = f" and {self.steps} steps" * bool(self.steps)
        return f"{self.sweeps:.1f}, {self.levels}{looped}"


def halved(cell: Any, params: Any, state: Any, xs: Any, work: Work = Work()) -> Work:  # noqa: B008
    """Returns the work if each window that fails is split into two, down to 16."""
    method = Parallel(1e-10)
    info = jrnn.parallel_info(cell, params, state, xs, method=method)
    length = len(xs)
    work = work.add(int(info.iterations[0]), length)
    if info.converged[0]:
        return work
    if length == 16:
        return dataclasses.replace(work, steps=work.steps + length)
    first, second = jnp.split(xs, 2)
    work = halved(cell, params, state, first, work)
    state, _ = jrnn.scan(cell, params, state, first, method="scan")
    return halved(cell, params, state, second, work)


def accuracy(config: Measure) -> Iterator[str]:
    """Compares float32 with float64, for gates around two values."""
    del config
    methods = ("scan", "associative", "chunk", "pallas")
    yield f"| steps, gate | logarithms | {' | '.join(methods)} |"
    yield "|---|---|" + "---|" * len(methods)
    for steps in (256, 4096, 16384):
        for gate in (0.5, 0.95):
            a, b, exact = gated_average(steps, gate)
            runs = [log_space, *map(linear, methods)]
            errors = [relative_error(run, a, b, exact) for run in runs]
            cells = " | ".join(f"{error:.1e}" for error in errors)
            yield f"| {steps}, {gate} | {cells} |"


def gated_average(steps: int, gate: float) -> tuple[Any, Any, Any]:
    """Returns factors, addends and states of `h' = a h + (1 - a) x` in float64."""
    rng = np.random.default_rng(2)
    logit = np.log(gate / (1 - gate)) + rng.standard_normal(steps)
    a = 1 / (1 + np.exp(-logit))
    b = (1 - a) * rng.uniform(0.5, 1.5, steps)
    states, h = [], 0.0
    for factor, addend in zip(a, b, strict=True):
        h = factor * h + addend
        states.append(h)
    return a, b, np.array(states)


def log_space(a: Any, b: Any) -> Any:
    """Computes h from logarithms, as the paper of minGRU does."""
    decay = jnp.cumsum(jnp.log(a))
    return jnp.exp(decay + jax.lax.cumlogsumexp(jnp.log(b) - decay))


def linear(method: str) -> Callable[[Any, Any], Any]:
    """Returns the recurrence as a function of factors and addends [T]."""
    return lambda a, b: jrnn.linear_recurrence(a[:, None], b[:, None], method=method)[
        :, 0
    ]


def relative_error(run: Callable[[Any, Any], Any], a: Any, b: Any, exact: Any) -> float:
    """Returns the largest relative error in float32."""
    found = jax.jit(run)(a.astype(np.float32), b.astype(np.float32))
    return float(np.max(np.abs(np.asarray(found) - exact) / exact))


def speed(config: Measure) -> Iterator[str]:
    """Times values and gradients, and reads the temporary memory from XLA."""
    yield "| cell; time, batch | pass | by steps: ms, MiB | auto | parallel | ratios |"
    yield "|---|---|---|---|---|---|"
    sizes = (1024, 1), (1024, 16)
    cases: list[tuple[Any, int, int]]
    cases = [(jrnn.ParaGRU(64), *size) for size in sizes]
    cases += [(jrnn.GRU(8), 1024, 1), (jrnn.GRU(32), 256, 16)]
    linear = jrnn.MinGRU(64), jrnn.HGRN(64), jrnn.LRU(64), jrnn.S5(64, 16)
    cases += [(cell, *size) for cell in linear for size in sizes]
    methods = ("scan", "auto", "parallel")
    for cell, steps, batch in cases:
        for mode in ("values", "gradient"):
            runs = {m: compiled(cell, steps, batch, m, mode) for m in methods}
            times = turns({m: run for m, (run, _) in runs.items()}, config.rounds)
            best = {m: 1e3 * min(seconds) for m, seconds in times.items()}
            cells = " | ".join(f"{best[m]:.2f}, {runs[m][1]:.1f}" for m in methods)
            ratios = ", ".join(f"{best[m] / best['scan']:.2f}" for m in methods[1:])
            yield f"| `{cell}`; {steps}, {batch} | {mode} | {cells} | {ratios} |"


def compiled(
    cell: Any, steps: int, batch: int, method: str, mode: str
) -> tuple[Callable[[], Any], float]:
    """Returns a call of a compiled program, and its temporary memory in MiB."""
    params = cell.init(jax.random.key(0), 16)
    xs = jax.random.normal(jax.random.key(1), (batch, steps, 16))

    def loss(params: Any) -> jax.Array:
        _, ys = jrnn.scan(cell, params, None, xs, method=method)
        return jnp.sum(jnp.square(ys))

    function = jax.grad(loss) if mode == "gradient" else loss
    program = jax.jit(function).lower(params).compile()
    analysis: Any = program.memory_analysis()
    memory = analysis.temp_size_in_bytes / 2**20
    return (lambda: jax.block_until_ready(program(params))), memory
