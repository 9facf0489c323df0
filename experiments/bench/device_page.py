"""The page of `bench --device`: Markdown, HTML and JSON."""

import html
import json
import pathlib
import statistics
from collections.abc import Iterator
from typing import Any

from experiments.bench.report import HEADINGS, by_size, ratio_cell
from experiments.bench.rounds import Row

NAME = "device"  # of the files
MANY = 32  # rows from which cuDNN is the bar
NEAR = 1.2  # times cuDNN

Table = list[list[str]]


def write(folder: pathlib.Path, results: dict[str, Any]) -> list[pathlib.Path]:
    """Writes device.json, device.md and device.html; returns their paths."""
    texts = {
        "json": json.dumps(results, indent=1) + "\n",
        "md": "\n".join(_markdown(part) for part in parts(results)),
        "html": _PAGE.format(body="\n".join(_html(part) for part in parts(results))),
    }
    paths = [folder / f"{NAME}.{ending}" for ending in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    return paths


def parts(results: dict[str, Any]) -> Iterator[str | Table]:
    """Yields headings, which begin with #, paragraphs and tables."""
    rows = results["rows"]
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
    yield f"# Benchmarks on {results['device']}"
    yield f"{results['machine']}. {versions}. Made on {results['date']} by"
    yield f"    {results['command']}"
    yield (
        f"Matmuls of float32: {results['precision']}. All peers share one process and "
        "take turns; the fastest call of a turn counts. A cell of a table contains the "
        "median in milliseconds, then the median and the range of the ratios to torch, "
        "or to the plain scan if torch is missing, in the same round."
    )
    yield "## Is it correct"
    yield [["cell", "dtype", "method", "largest relative error"], *_checked(results)]
    yield "## Is it fast"
    yield from verdicts(rows)
    for mode, heading in HEADINGS.items():
        for dtype in dict.fromkeys(row["dtype"] for row in rows):
            some = [row for row in rows if (row["mode"], row["dtype"]) == (mode, dtype)]
            if some:
                yield f"## {heading}, {dtype}"
                yield by_size(some, ratio_cell)
                yield "Temporary memory in MiB; of torch, all memory at its peak:"
                yield by_size(some, _memory)
    profiled = [row for row in rows if row.get("profile")]
    if profiled:
        yield "## What the device does"
        yield (
            "One call of each peer, profiled: the number of operations on the device, "
            "the milliseconds in which one of them ran, those from the first to the "
            "last, and the operations that took the most time. If the device is busy "
            "for a small part of a call, the call waits for launches."
        )
        named = ["cell", "mode", "dtype", "size", "method"]
        measured = ["operations", "busy", "call", "part", "longest"]
        yield [named + measured, *map(_profile, profiled)]
    failures = {f"{row['peer']}: {row['error']}" for row in rows if "error" in row}
    yield from (f'"-" in the tables: {line}' for line in sorted(failures))


def checks(rows: list[Row]) -> Iterator[str]:
    """Yields what the comparison with the plain scan found, a line for each method."""
    for cell, dtype, peer, error in _checked({"checks": rows}):
        yield f"{cell} {dtype} {peer}: {error}"


def verdicts(rows: list[Row]) -> Iterator[str]:
    """Yields whether "auto" is as fast as the plain scan, and what is as fast as cuDNN.

    Ratios are medians of those of the same round.
    """
    problems: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if "seconds" in row:
            key = (row["cell"], row["mode"], row["dtype"], row["size"])
            problems.setdefault(key, {})[row["peer"]] = row
    slower, far, compared = [], [], 0
    for key, peers in problems.items():
        name = " ".join(key)
        if {"jrnn", "jrnn:scan"} <= peers.keys():
            ratio = _ratio(peers["jrnn"], peers["jrnn:scan"])
            slower += [f"{name} ({ratio:.2f})"] if ratio > 1 else []
        mine = [row for peer, row in peers.items() if peer.startswith("jrnn")]
        if key[0] == "lstm" and "torch" in peers and peers["torch"]["batch"] >= MANY:
            compared += 1
            best = min((_ratio(row, peers["torch"]) for row in mine), default=NEAR + 1)
            far += [f"{name} ({best:.2f})"] if best > NEAR else []
    yield f"auto is slower than the plain scan at: {'; '.join(slower) or 'none'}."
    yield (
        f"Of {compared} LSTMs with B >= {MANY}, no method is within {NEAR} of torch "
        f"at: {'; '.join(far) or 'none'}."
    )


def _ratio(row: Row, base: Row) -> float:
    pairs = zip(row["seconds"], base["seconds"], strict=True)
    return statistics.median(a / b for a, b in pairs)


def _checked(results: dict[str, Any]) -> Table:
    found = []
    for row in results["checks"]:
        text = row["error"]
        if not isinstance(text, str):
            text = f"{text:.2g} of {row['allowed']:.2g}" + " WRONG" * row["wrong"]
        found.append([row["cell"], row["dtype"], row["peer"], text])
    return found


def _memory(row: Row) -> str:
    size = row["temporary"]
    return "?" if size is None else f"{size / 2**20:.1f}"


def _profile(row: Row) -> list[str]:
    found = row["profile"]
    busy, span = (1e3 * found[name] for name in ("busy", "span"))
    part = f"{busy / span:.0%}" if span else "-"
    names = [f"{n} {name} {1e3 * s:.3f}" for name, n, s in found["longest"]]
    what = [row[name] for name in ("cell", "mode", "dtype", "size", "peer")]
    numbers = [str(found["operations"]), f"{busy:.3f}", f"{span:.3f}", part]
    return [*what, *numbers, "; ".join(names)]


def _markdown(part: str | Table) -> str:
    if isinstance(part, str):
        return part + "\n"
    head, *body = part
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _html(part: str | Table) -> str:
    if isinstance(part, str):
        text = html.escape(part.lstrip("# "))
        level = len(part) - len(part.lstrip("#"))
        tag = f"h{level}" if level else "pre" if part.startswith("  ") else "p"
        return f"<{tag}>{text}</{tag}>"
    head, *body = part
    rows = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    rows += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in body]
    inside = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table>\n{inside}\n</table>"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Benchmarks on a device</title>
<style>body {{ font: 15px sans-serif; margin: 2em }} td, th {{ padding: .2em .7em;
text-align: left; border-bottom: 1px solid #ccc }} table {{ border-collapse: collapse }}
</style>
{body}
</html>
"""
