"""Writes the results of the benchmark: a page, a JSON file and a plot."""

import importlib.metadata
import json
import math
import os
import pathlib
import pkgutil
import platform
import statistics
import textwrap
import time
from collections.abc import Callable
from typing import Any

from experiments.bench.config import SAMPLER, SWEEPS, SYMBOLS, Size
from experiments.bench.rounds import Row

PACKAGES = ["jrnn", "jax", "jaxlib", "torch", "flax", "dm-haiku", "keras", "equinox"]
_PAGE = """\
# Benchmarks

{circumstances}

    {command}

{method}
{missing}
"""
_CIRCUMSTANCES = """Sizes: {sizes_key}.

Machine: {machine}. Versions: {versions}. Made on {date}, with a load of {load} before
it began, by"""
_METHOD = """Each library runs in its own process. The processes take turns, with
{rounds} rounds of {calls} calls; the fastest call of a turn counts. Each table cell
contains the median {clock} in milliseconds, then the median and the range of the
ratios to {base} in the same round.

All runs use float32 and one layer without masks. Each library uses its own layout and
its own cell: {cells_key}. PyTorch, Haiku and Equinox use time-major inputs. Flax, Keras
and jrnn use batch-major inputs, and transposing is part of their time. "jrnn" is
`jrnn.scan`, "jrnn:scan" is `jrnn.scan` with `method="scan"`, and "jrnn@2" splits the
batch over two devices. Gradients are of the sum of squares of all outputs."""
_CELLS_KEY = (
    "OptimizedLSTMCell, GRUCell and SimpleCell of Flax, LSTM, GRU and VanillaRNN of "
    "Haiku, LSTM, GRU and SimpleRNN of Keras, LSTMCell and GRUCell of Equinox"
)
HEADINGS = {
    "forward": "Forward",
    "gradient": "Gradient of the parameters",
    "gradient-inputs": "Gradient of the parameters and the inputs",
}
_SAMPLED = """\
## Text generation

The model has an embedding of {size.inputs} features, two LSTM layers of {size.hidden}
units and an output layer for {symbols} symbols. It generates {size.time} symbols by
greedy decoding. The JAX libraries compile the loop; PyTorch uses a Python loop.

{table}"""
_SWEPT = """\
## Time against T, B and H

Gradient of the parameters of an LSTM; {starts}. The slope is fitted on logarithmic
scales: 1 means linear growth, 2 means quadratic growth.

{table}

![Milliseconds against T, B and H](benchmarks.svg)
"""


def circumstances(command: str) -> dict[str, Any]:
    """Returns the environment of the benchmark."""
    return {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            **{name: v for name in PACKAGES if (v := _version(name)) is not None},
        },
    }


def sizes_line(size: Size) -> str:
    """Returns a description of a size."""
    return (
        f"T = {size.time}, B = {size.batch}, {size.inputs} inputs, "
        f"{size.hidden} hidden units"
    )


def terminal_table(rows: list[Row], base: str) -> str:
    """Returns the results of one problem as lines of text."""
    head = ("", "ms", f"/ {base}", "range", "first s", "temp MiB", "resident MiB")
    return "\n".join(
        "  " + f"{cells[0]:<12}" + "".join(f"{cell:>14}" for cell in cells[1:])
        for cells in [head, *map(_terminal_cells, rows)]
    )


BY_HAND = "<!-- The rest is written by hand, and `bench --out docs` keeps it. -->"


def save(folder: pathlib.Path, results: dict[str, Any]) -> pathlib.Path:
    """Writes the JSON file; returns its path."""
    path = folder / "benchmarks.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    return path


def write(folder: pathlib.Path, results: dict[str, Any]) -> list[pathlib.Path]:
    """Writes the JSON file, the page and the plot; returns their paths.

    What a page has after `BY_HAND` stays.
    """
    paths = [save(folder, results), folder / "benchmarks.md"]
    before = paths[1].read_text() if paths[1].exists() else ""
    paths[1].write_text(page(results) + "".join(before.partition(BY_HAND)[1:]))
    if results["sweeps"]:
        paths.append(folder / "benchmarks.svg")
        # Importing matplotlib takes a second.
        draw = pkgutil.resolve_name("experiments.bench.figure:draw")
        settings = f"{results['machine']}; {results['command']}"
        draw(results["sweeps"], paths[2], settings)
    return paths


def page(results: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    rows, values = results["rows"], {**results, **results["settings"]}
    versions = results["versions"].items()
    sizes = {row["size"]: sizes_line(Size(*map(row.get, Size._fields))) for row in rows}
    values |= {
        "versions": ", ".join(f"{name} {version}" for name, version in versions),
        "cells_key": _CELLS_KEY,
        "sizes_key": "; ".join(f"{name}: {line}" for name, line in sizes.items()),
        "missing": _missing(rows),
    }
    values |= {
        "circumstances": _filled(_CIRCUMSTANCES, values),
        "method": _filled(_METHOD, values),
    }
    parts = [_PAGE.format(**values)]
    for mode, heading in HEADINGS.items():
        some = [row for row in rows if row["mode"] == mode]
        if some:
            parts += [f"## {heading}\n", _by_size(some, ratio_cell)]
    parts += _resources([row for row in rows if row["mode"] == "gradient"])
    if results["sampler"]:
        parts.append(_sampled(results["sampler"]))
    if results["sweeps"]:
        parts.append(_sweeps(results["sweeps"]))
    return "\n".join(parts)


def slope(points: list[tuple[float, float]]) -> float:
    """Returns the slope of a line fitted to the logarithms of points."""
    x, y = ([math.log(point[i]) for point in points] for i in (0, 1))
    return statistics.linear_regression(x, y).slope


def curves(swept: list[Row]) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Returns the points (value, seconds) of each axis and peer."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in swept:
        if "median" in row:
            points = found.setdefault((row["axis"], row["peer"]), [])
            points.append((row["value"], row["median"]))
    return found


def _filled(text: str, values: dict[str, Any]) -> str:
    """Formats a text of several paragraphs and wraps its lines."""
    paragraphs = text.format(**values).split("\n\n")
    return "\n\n".join(textwrap.fill(paragraph, 118) for paragraph in paragraphs)


def _resources(rows: list[Row]) -> list[str]:
    """Returns tables of the compilation time and the memory of the gradient."""
    if not rows:
        return []
    return [
        "## Seconds to the first gradient\n",
        "Time for tracing, compiling and one run, without importing the library.\n",
        _by_size(rows, lambda row: f"{row['first']:.2f}"),
        "## Memory of the gradient\n",
        "Temporary memory of the compiled program in MiB, then the peak resident memory"
        " of the process in MiB, including the library.\n",
        _by_size(
            rows, lambda row: f"{_mib(row['temporary'])}, {_mib(row['resident'])}"
        ),
    ]


def _sampled(rows: list[Row]) -> str:
    body = []
    for row in rows:
        if "ratio" in row:
            micros = 1e6 * row["median"] / SAMPLER.time
            body.append([row["peer"], f"{micros:.3g}", f"{row['ratio']:.2f}"])
    table = _table(["library", "us per symbol", "ratio"], body)
    return _SAMPLED.format(symbols=SYMBOLS, size=SAMPLER, table=table)


def _sweeps(swept: list[Row]) -> str:
    rows = []
    for (axis, peer), points in curves(swept).items():
        upper = points[len(points) // 2 :]
        shown = [f"{1e3 * seconds:.3g}" for _, seconds in points]
        values = ", ".join(f"{value}" for value, _ in points)
        slopes = [f"{slope(p):.2f}" if len(p) > 1 else "" for p in (points, upper)]
        rows.append([axis, values, peer, ", ".join(shown), *slopes])
    head = ["axis", "values", "library", "ms", "slope", "slope of the upper half"]
    starts = "; ".join(
        f"{axis} at {sizes_line(start)}".replace(f" {axis} = 0,", "")
        for axis, (start, _) in SWEEPS.items()
    ).replace("0 inputs, 0 hidden units", "H inputs and hidden units")
    return _SWEPT.format(table=_table(head, rows), starts=starts)


def by_size(rows: list[Row], cell: Callable[[Row], str]) -> list[list[str]]:
    """Returns a table with a row for each cell and peer and a column for each size."""
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault((row["cell"], row["peer"]), {})
        line[row["size"]] = cell(row) if "median" in row else "-"
    body = [[*key, *(line.get(s, "") for s in sizes)] for key, line in lines.items()]
    return [["cell", "library", *sizes], *body]


def _by_size(rows: list[Row], cell: Callable[[Row], str]) -> str:
    head, *body = by_size(rows, cell)
    return _table(head, body)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def ratio_cell(row: Row) -> str:
    """Returns the median in milliseconds, then the ratios to another peer."""
    text = f"{1e3 * row['median']:.4g}"
    if "ratio" not in row:
        return text
    low, high = row["range"]
    return f"{text}, **{row['ratio']:.2f}** ({low:.2f} to {high:.2f})"


def _terminal_cells(row: Row) -> tuple[str, ...]:
    if "median" not in row:
        return row["peer"], " " + row["error"]
    low, high = row.get("range", (math.nan, math.nan))
    return (
        row["peer"],
        f"{1e3 * row['median']:.2f}",
        f"{row.get('ratio', math.nan):.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{row['first']:.2f}",
        _mib(row["temporary"]),
        _mib(row["resident"]),
    )


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.1f}"


def _missing(rows: list[Row]) -> str:
    reasons = {f"{row['peer']}: {row['error']}" for row in rows if "error" in row}
    return "".join(f'\n"-" in the tables: {reason}\n' for reason in sorted(reasons))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
