"""The benchmark: what it prints is what it measured, and help needs no JAX."""

import json
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from experiments import layouts, parts
from experiments.bench import command, config, report, rounds, worker
from experiments.errors import UserError


def row(peer, seconds, **more):
    what = {"cell": "lstm", "mode": "gradient", "size": "A", "time": 8, "batch": 2}
    what |= {"inputs": 3, "hidden": 4, "peer": peer, "first": 1.5, "temporary": 2**20}
    return {**what, "resident": 3 * 2**20, "seconds": seconds, **more}


def test_ratios_are_of_the_same_turn():
    rows = [row("torch", [1.0, 2.0, 4.0]), row("jrnn", [3.0, 2.0, 6.0])]
    rows.append({"peer": "equinox", "error": "has no such cell"})
    base, ours, none = rounds.compare(rows, "torch")
    assert (ours["median"], ours["ratio"], ours["range"]) == (3.0, 1.5, [1.0, 3.0])
    assert base["ratio"] == 1 and "ratio" not in none


def test_the_page_prints_losses_like_wins():
    rows = [row("torch", [0.001]), row("jrnn", [0.003]), row("linen", [0.0005])]
    error = {"peer": "equinox", "error": "ValueError: no such cell"}
    rows.append({**row("equinox", []), **error})
    del rows[-1]["seconds"]
    rows = rounds.compare(rows, "torch")
    swept = [
        {**row("jrnn", [0.001 * value]), "axis": "T", "value": value, "median": value}
        for value in (64, 128, 256)
    ]
    told = report.circumstances("python -m experiments bench")
    settings = {"rounds": 1, "calls": 1, "base": "torch", "clock": "processor time"}
    more = {"sampler": rows[:2], "sweeps": swept}
    page = report.page({**told, "settings": settings, "rows": rows, **more})
    assert "contains the median processor time in milliseconds" in page.replace(
        "\n", " "
    )
    assert "| lstm | jrnn | 3, **3.00** (3.00 to 3.00) |" in page
    assert "| lstm | linen | 0.5, **0.50** (0.50 to 0.50) |" in page
    assert "| lstm | equinox | - |" in page and "equinox: ValueError" in page
    assert "| lstm | jrnn | 1.0, 3.0 |" in page  # memory
    assert "| jrnn | 5.86 | 3.00 |" in page  # 3 ms for 512 symbols
    assert "64, 128, 256 | jrnn | 6.4e+04, 1.28e+05, 2.56e+05 | 1.00 | 1.00 |" in page
    assert "    python -m experiments bench" in page and told["machine"] in page


def test_processor_time_does_not_count_sleep():
    sleep = lambda: time.sleep(0.02)
    wall, processor = (worker.timed(sleep, worker.CLOCKS[c]) for c in worker.CLOCKS)
    assert wall >= 0.02 > 2 * processor


def test_slopes_are_those_of_powers():
    assert report.slope([(1, 5), (2, 20), (4, 80)]) == pytest.approx(2)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--sizes", "Z"], "--sizes Z: a size is one of A, B, C, D, E"),
        (["--sizes", "1,2,3"], "four positive numbers"),
        (["--peers", "jax", "torch"], "--peers must be among torch"),
        (["--peers", "jrnn@x", "torch"], "must have a number of devices after @"),
        (["--peers", "jrnn"], "--base must be among --peers, got torch"),
        (["--rounds", "0"], "must be at least 1"),
        (["--out", "/nowhere"], "is not a writable folder"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(UserError, match=message):
        command.main("bench", options)


def test_peers_have_methods_and_devices():
    assert config.split_peer("jrnn:scan@2") == ("jrnn", "scan", 2)
    assert config.split_peer("linen") == ("linen", "auto", 1)
    assert not rounds.installed("no_such_library")


def test_a_library_that_crashes_is_told(monkeypatch):
    """It tells its first result and ends, as when memory runs out."""
    told = f"print('{rounds.MARK}' + '{{}}', flush=True); raise SystemExit(3)"

    def start(*how):
        return subprocess.Popen(
            [sys.executable, "-c", told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    monkeypatch.setattr(rounds, "_start", start)
    size = config.Size(4, 2, 3, 5)
    (row,) = rounds.run(("jrnn",), "lstm", "forward", size, rounds=2, calls=1)
    assert row["error"] == "ended with exit code 3" and "seconds" not in row


def test_what_is_written_by_hand_stays(tmp_path):
    told = report.circumstances("bench")
    settings = {"rounds": 1, "calls": 1, "base": "jrnn", "clock": "time"}
    rows = rounds.compare([row("jrnn", [0.003])], "jrnn")
    results = {**told, "settings": settings, "rows": rows, "sampler": [], "sweeps": []}
    path = tmp_path / "benchmarks.md"
    path.write_text(f"old\n{report.BY_HAND}\n\n## Why\n")
    for _ in range(2):
        report.write(tmp_path, results)
        text = path.read_text()
        assert text == f"{report.page(results)}{report.BY_HAND}\n\n## Why\n"


def test_help_needs_no_jax():
    code = "import experiments.bench.command, sys; print('jax' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout == "False\n", out.stderr


def test_it_runs_from_end_to_end(tmp_path, capsys):
    options = ["--cells", "elman", "--sizes", "4,2,3,5", "--modes", "gradient-inputs"]
    options += ["--peers", "jrnn", "jrnn:scan@2", "jrnn:no_such_method"]
    options += ["--base", "jrnn", "--rounds", "2", "--calls", "1", "--sweeps"]
    options += ["--no-sampler"]
    assert command.main("bench", [*options, "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "benchmarks.json").read_text())
    one, two, wrong = results["rows"]
    assert len(one["seconds"]) == len(two["seconds"]) == 2
    assert all(row["resident"] > 0 and row["temporary"] > 0 for row in (one, two))
    assert "method must be one of" in wrong["error"]
    assert "jrnn:scan@2" in (tmp_path / "benchmarks.md").read_text()
    assert "elman gradient-inputs" in capsys.readouterr().out


# Their torch loops keep the last state only.
LOOPS = "states: a matmul per step", "their transposes"


def test_parts_of_a_gradient_are_the_same_in_both_libraries(capsys):
    torch = pytest.importorskip("torch")
    size = config.Size(3, 2, 5, 4)
    for name, (ours, theirs, arrays) in parts.parts(size, torch).items():
        if not name.startswith("whole"):
            made = theirs(*map(torch.from_numpy, arrays))
            made = made if isinstance(made, tuple) else (made,)
            expected = jax.tree.leaves(jax.jit(ours)(*arrays))
            if name not in LOOPS:
                for a, b in zip(expected, made, strict=True):
                    np.testing.assert_allclose(a, b.detach(), rtol=1e-5, atol=1e-6)
    options = ["--size", "3,2,5,4", "--rounds", "1", "--calls", "1"]
    assert parts.main("parts", options) == 0
    assert capsys.readouterr().out.count("\n| ") == 11


def test_layouts_are_compared_with_the_default(capsys, monkeypatch):
    monkeypatch.setattr(layouts, "UNROLLS", ())
    monkeypatch.setattr(
        layouts, "turns", lambda runs, *how: dict(zip(runs, seconds, strict=True))
    )
    seconds = [[0.2, 0.4, 0.2], [0.3, 0.4, 0.3], [0.1, 0.3, 0.1], *[[1.0] * 3] * 4]
    options = ["--sizes", "5,2,3,4", "--modes", "gradient", "--cells", "elman"]
    options += ["--chunks", "2"]
    assert layouts.main("layouts", options) == 0
    out = capsys.readouterr().out
    assert "| scan | 300.0 | 1.50 (1.00 to 1.50) |" in out
    assert out.endswith(
        "than auto by more than 5%: 1\n"
        "  elman gradient at 5,2,3,4: chunk 2, 0.50 (0.50 to 0.75)\n"
    )
