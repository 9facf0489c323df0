"""Measures computing all time steps at once: the tables of `docs/parallel.md`."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jrnn
from experiments.errors import UserError
from experiments.layouts import turns
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
MOST = 150  # iterations


@dataclasses.dataclass(frozen=True)
class Measure:
    """Options of the command."""

    tables: tuple[str, ...] = ("iterations", "windows", "accuracy", "speed")
    """Which tables to print."""

    seeds: int = 5
    """Number of random networks for each gain."""

    rounds: int = 7
    """How often the ways to compute take turns, in "speed"."""

    plot: pathlib.Path | None = None
    """Where to write a picture of the iterations by exponent."""


def main(prog: str, arguments: list[str]) -> int:
    """Prints the tables."""
    config = tyro.cli(Measure, prog=prog, description=_ABOUT, args=arguments)
    print_table = {
        "iterations": iterations,
        "windows": windows,
        "accuracy": accuracy,
        "speed": speed,
    }
    for name in config.tables:
        if name not in print_table:
            raise UserError(f"there is no table {name!r}, only {list(print_table)}")
        for line in print_table[name](config):
            print(line, flush=True)
        print(flush=True)
    return 0


def network(cell: Any, gain: float, seed: int, steps: int = 512) -> tuple[Any, Any]:
    """Returns parameters with random recurrent weights of a gain, and inputs."""
    keys = jax.random.split(jax.random.key(seed), 4)
    params = cell.init(keys[0], 8, jnp.float64)
    draw = lambda key, like: jax.random.normal(key, like.shape, jnp.float64)  # noqa: E731
    scale = 8**-0.5 if params.w_h.ndim > 1 else 1.0  # a unit of a ParaGRU has one input
    params = params._replace(
        w_h=gain * scale * draw(keys[1], params.w_h),
        w_x=8**-0.5 * draw(keys[2], params.w_x),
    )
    return params, jax.random.normal(keys[3], (steps, 8), jnp.float64)


def iterations(config: Measure) -> Iterator[str]:
    """Counts iterations to a residual of 1e-10, by cell and gain."""
    method = Parallel(tolerance=1e-10, max_iterations=MOST)
    yield "| cell | gain | largest exponent | iterations: median (least to most) |"
    yield "|---|---|---|---|"
    found: dict[str, list[Any]] = {name: [] for name in CELLS}
    with jax.enable_x64(True):
        for name, cell in CELLS.items():
            for gain in GAINS:
                results = [
                    jrnn.diagnostics.parallelizable(
                        cell, *network(cell, gain, seed), method=method
                    )
                    for seed in range(config.seeds)
                ]
                found[name] += results
                exponents = [float(result.exponent) for result in results]
                counts = sorted(result.iterations for result in results)
                span = f"{shown(counts[0])} to {shown(counts[-1])}"
                middle = shown(int(np.median(counts)))
                mean = f"{np.mean(exponents):.2f}"
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
    heads = " | ".join(f"{length}: sweeps, depth, by steps" for length in lengths)
    yield f"| network, 512 steps | {heads} |"
    yield "|---|" + "---|" * len(lengths)
    with jax.enable_x64(True):
        for name, gain in [
            ("GRU", 3.0),
            ("Elman", 2.0),
            ("Elman", 3.0),
            ("ParaGRU", 3.0),
        ]:
            cell = CELLS[name]
            params, xs = network(cell, gain, 0)
            row = []
            for length in lengths:
                method = Parallel(1e-10, max_iterations=MOST, window=length)
                info = jrnn.parallel_info(cell, params, None, xs, method=method)
                sweeps = float(jnp.sum(info.iterations)) * length / 512
                lost = int(jnp.sum(~info.converged))
                depth = int(jnp.sum(info.iterations))
                row.append(f"{sweeps:.1f}, {depth}, {lost} of {512 // length}")
            yield f"| {name}, gain {gain} | {' | '.join(row)} |"


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
    yield "| cell; time, batch | pass | by steps: ms, MiB | auto | parallel | ratio |"
    yield "|---|---|---|---|---|---|"
    cases = [
        (jrnn.ParaGRU(64), 1024, 1),
        (jrnn.ParaGRU(64), 1024, 16),
        (jrnn.GRU(8), 1024, 1),
        (jrnn.GRU(32), 256, 16),
        (jrnn.LRU(64), 1024, 1),
        (jrnn.LRU(64), 1024, 16),
    ]
    methods = ("scan", "auto", "parallel")
    for cell, steps, batch in cases:
        for mode in ("values", "gradient"):
            runs = {m: compiled(cell, steps, batch, m, mode) for m in methods}
            best = turns({m: run for m, (run, _) in runs.items()}, config.rounds)
            cells = " | ".join(f"{best[m]:.2f}, {runs[m][1]:.1f}" for m in methods)
            ratio = best["parallel"] / best["scan"]
            yield f"| `{cell}`; {steps}, {batch} | {mode} | {cells} | {ratio:.1f} |"


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
