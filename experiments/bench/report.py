"""Writes what the benchmark found: a table for people, numbers for programs, a plot."""

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
_METHOD = """Each library runs in a process of its own and they take turns, {rounds}
rounds of {calls} calls; the fastest call of a turn counts. A cell of a table holds the
median in milliseconds, then the median of its ratios to {base} in the same round and
their range.

No flags, float32, one network of one layer, each library in its own layout and with its
own cell: {cells_key}. PyTorch, Haiku and Equinox have time first; Flax, Keras and jrnn
have the batch first, and transposing is part of their time. "jrnn" is `jrnn.scan`,
"jrnn:scan" the same with `method="scan"`, and "jrnn@2" splits the batch over two
devices. The loss of a gradient is the sum of the squares of all outputs."""
_CELLS_KEY = (
    "OptimizedLSTMCell, GRUCell and SimpleCell of Flax, LSTM, GRU and VanillaRNN of "
    "Haiku, LSTM, GRU and SimpleRNN of Keras, LSTMCell and GRUCell of Equinox"
)
_HEADINGS = {
    "forward": "Forward",
    "gradient": "Gradient of the parameters",
    "gradient-inputs": "Gradient of the parameters and the inputs",
}
_SAMPLED = """\
## Writing one symbol

Embedding of {size.inputs}, two LSTMs of {size.hidden}, read-out of {symbols} symbols;
{size.time} symbols one by one, each the likeliest. The loop of the JAX libraries is
compiled, that of torch is Python's.

{table}"""
_SWEPT = """\
## Cost against T, B and H

Gradient of the parameters of an LSTM; {starts}. The slope is that of a line through the
logarithms: 1 is a cost that grows in proportion, 2 with the square.

{table}

![Milliseconds against T, B and H](benchmarks.svg)
"""


def circumstances(command: str) -> dict[str, Any]:
    """Returns where and how the benchmark runs."""
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
    """Returns a size in words."""
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


def save(folder: pathlib.Path, results: dict[str, Any]) -> pathlib.Path:
    """Writes the numbers; returns their path."""
    path = folder / "benchmarks.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    return path


def write(folder: pathlib.Path, results: dict[str, Any]) -> list[pathlib.Path]:
    """Writes the numbers, the page and the plot; returns their paths."""
    paths = [save(folder, results), folder / "benchmarks.md"]
    paths[1].write_text(page(results))
    if results["sweeps"]:
        paths.append(folder / "benchmarks.svg")
        # Only now, because it takes a second to import what draws.
        draw = pkgutil.resolve_name("experiments.bench.figure:draw")
        draw(results["sweeps"], paths[2])
    return paths


def page(results: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    rows, told = results["rows"], {**results, **results["settings"]}
    versions = results["versions"].items()
    sizes = {row["size"]: sizes_line(Size(*map(row.get, Size._fields))) for row in rows}
    told |= {
        "versions": ", ".join(f"{name} {version}" for name, version in versions),
        "cells_key": _CELLS_KEY,
        "sizes_key": "; ".join(f"{name}: {line}" for name, line in sizes.items()),
        "missing": _missing(rows),
    }
    told |= {
        "circumstances": _filled(_CIRCUMSTANCES, told),
        "method": _filled(_METHOD, told),
    }
    parts = [_PAGE.format(**told)]
    for mode, heading in _HEADINGS.items():
        some = [row for row in rows if row["mode"] == mode]
        if some:
            parts += [f"## {heading}\n", _by_size(some, _ratio_cell)]
    parts += _resources([row for row in rows if row["mode"] == "gradient"])
    if results["sampler"]:
        parts.append(_sampled(results["sampler"]))
    if results["sweeps"]:
        parts.append(_sweeps(results["sweeps"]))
    return "\n".join(parts)


def slope(points: list[tuple[float, float]]) -> float:
    """Returns the slope of a line through the logarithms of some points."""
    x, y = ([math.log(point[i]) for point in points] for i in (0, 1))
    return statistics.linear_regression(x, y).slope


def curves(swept: list[Row]) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Returns for each axis and peer the points (value, seconds)."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in swept:
        if "median" in row:
            points = found.setdefault((row["axis"], row["peer"]), [])
            points.append((row["value"], row["median"]))
    return found


def _filled(text: str, told: dict[str, Any]) -> str:
    """Fills in a text of paragraphs and breaks its lines."""
    paragraphs = text.format(**told).split("\n\n")
    return "\n\n".join(textwrap.fill(paragraph, 118) for paragraph in paragraphs)


def _resources(rows: list[Row]) -> list[str]:
    """Tables of what the gradient costs besides time."""
    if not rows:
        return []
    return [
        "## Seconds to the first gradient\n",
        "Tracing, compiling and running once; importing the library is left out.\n",
        _by_size(rows, lambda row: f"{row['first']:.2f}"),
        "## Memory of the gradient\n",
        "MiB: temporary memory of the compiled program, then the most that was resident"
        " in the process, library included.\n",
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


def _by_size(rows: list[Row], cell: Callable[[Row], str]) -> str:
    """A table with a row for each cell and peer, and a column for each size."""
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault((row["cell"], row["peer"]), {})
        line[row["size"]] = cell(row) if "median" in row else "-"
    body = [[*key, *(line.get(s, "") for s in sizes)] for key, line in lines.items()]
    return _table(["cell", "library", *sizes], body)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _ratio_cell(row: Row) -> str:
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
