"""The command `bench`."""

import itertools
import pkgutil
import shlex

from experiments.bench import config as options, report, rounds
from experiments.bench.config import (
    SAMPLER,
    SAMPLERS,
    SWEEPS,
    Bench,
    Compile,
    OnDevice,
    Size,
    size_of,
)
from experiments.command_line import parse

_ABOUT = """Compares the speed of jrnn and the other installed libraries.

Each library runs in its own process. The processes take turns, so a temporary slowdown
of the machine affects all of them. All benchmarks take about an hour; with --sizes A
--cells lstm --sweeps, a few minutes. Run it on an idle machine.

With --device gpu, all methods run on an accelerator: see --device gpu --help.
With --compile-for v5e:2x2, programs are only compiled, for a TPU that this machine does
not need to have: see --compile-for v5e:2x2 --help."""
_ON_DEVICE = """Compares jrnn on an accelerator with torch (cuDNN) and Flax.

Every method is first compared with the plain scan. All sizes take about an hour."""
_COMPILING = """Compiles the programs of jrnn for an accelerator, without having one.

Prints temporary memory and the operations inside of loops. A kernel may refuse a size
before it is compiled, with the bytes that it would need; no program should fail."""


def main(prog: str, arguments: list[str]) -> int:
    """Runs the benchmark and writes its report."""
    given = {word.split("=")[0] for word in arguments}
    if "--compile-for" in given:
        return _compile(prog, arguments)
    if "--device" in given:
        return _on_device(prog, arguments)
    config = parse(Bench, prog, arguments, description=_ABOUT)
    options.check(config)
    settings = {"rounds": config.rounds, "calls": config.calls, "base": config.base}
    settings["clock"] = "processor time" if config.processor_time else "time"
    results = report.circumstances(shlex.join([*prog.split(), *arguments]))
    results |= {"settings": settings, "rows": [], "sampler": [], "sweeps": []}
    for cell, text, mode in itertools.product(config.cells, config.sizes, config.modes):
        size = size_of(text)
        results["rows"] += _group(config, config.peers, cell, mode, text, size)
        report.save(config.out, results)
    if config.sampler:
        results["sampler"] = _group(
            config, SAMPLERS, "lstm", "sampler", "sampler", SAMPLER
        )
    for axis in config.sweeps:
        for value, size in sweep_sizes(axis):
            name = f"{axis}={value}"
            some = _group(config, config.sweep_peers, "lstm", "gradient", name, size)
            results["sweeps"] += [{**row, "axis": axis, "value": value} for row in some]
            report.save(config.out, results)
    for path in report.write(config.out, results):
        print(path)
    return 0


def _compile(prog: str, arguments: list[str]) -> int:
    config = parse(Compile, prog, arguments, description=_COMPILING)
    options.check_compile(config)
    return pkgutil.resolve_name("experiments.bench.compiling:main")(config)


def _on_device(prog: str, arguments: list[str]) -> int:
    config = parse(OnDevice, prog, arguments, description=_ON_DEVICE)
    options.check_on_device(config)
    run = pkgutil.resolve_name("experiments.bench.on_device:main")
    return run(config, shlex.join([*prog.split(), *arguments]))


def sweep_sizes(axis: str) -> list[tuple[int, Size]]:
    """Returns the sizes along an axis: T, B, or H, which also sets the input size."""
    start, values = SWEEPS[axis]
    fields = {"T": ("time",), "B": ("batch",), "H": ("inputs", "hidden")}[axis]
    return [(v, start._replace(**dict.fromkeys(fields, v))) for v in values]


def _group(
    config: Bench, peers: tuple[str, ...], cell: str, mode: str, name: str, size: Size
) -> list[rounds.Row]:
    """Times the peers on one problem and prints the results."""
    rows = rounds.run(
        peers,
        cell,
        mode,
        size,
        rounds=config.rounds,
        calls=config.calls,
        clock="processor" if config.processor_time else "wall",
    )
    base = config.base if config.base in peers else peers[0]
    rows = [{**row, "size": name} for row in rounds.compare(rows, base)]
    print(f"\n{cell} {mode} at {name}: {report.sizes_line(size)}", flush=True)
    print(report.terminal_table(rows, base), flush=True)
    return rows
