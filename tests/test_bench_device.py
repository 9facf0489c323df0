"""The benchmark on a device finds wrong methods, and its page has what was timed."""

import importlib.util
import json

import jax.numpy as jnp
import pytest

from experiments.bench import command, config, device_page, on_device
from experiments.errors import UserError
from tests.kernel_cases import replace_cudnn

TINY = config.Size(4, 3, 2, 5)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(on_device, "CHECKED", TINY)


def test_it_runs_from_end_to_end(tmp_path, capsys, tiny):
    options = ["--device", "cpu", "--cells", "elman", "--sizes", "4,2,3,5"]
    options += ["--modes", "gradient-inputs", "--dtypes", "bfloat16"]
    options += ["--peers", "torch", "linen", "jrnn:scan", "jrnn:cudnn", "jrnn"]
    options += ["--rounds", "2", "--calls", "1", "--profile", "--out", str(tmp_path)]
    assert command.main("bench", options) == 0
    results = json.loads((tmp_path / "device.json").read_text())
    scan, cudnn, auto = results["checks"]
    assert scan["agrees"] and auto["agrees"] and 0 < scan["error"] < scan["allowed"]
    assert not cudnn["agrees"] and "needs the CUDA plugin" in cudnn["error"]
    assert results["device"] == "cpu" and results["precision"] == "default: float32"
    rows = {row["peer"]: row for row in results["rows"]}
    there = ["torch"] if importlib.util.find_spec("torch") else []
    assert list(rows) == [*there, "linen", "jrnn:scan", "jrnn"]
    for row in rows.values():
        assert len(row["seconds"]) == 2 and row["dtype"] == "bfloat16"
        assert row["ratio"] > 0 and row["size"] == "4,2,3,5"
        if row["peer"] != "torch":  # a trace of a CPU has only what XLA runs
            assert 0 < row["profile"]["busy"] <= row["profile"]["span"] < 1
    page, web = ((tmp_path / f"device.{end}").read_text() for end in ("md", "html"))
    out = capsys.readouterr().out
    for text in (page, web, out):
        assert "auto is slower than the plain scan at:" in text
        assert "jrnn:cudnn" in text and "needs the CUDA plugin" in text
    assert "| elman | gradient-inputs | bfloat16 | 4,2,3,5 | jrnn | " in page
    assert "| elman | jrnn | " in page and "<td>jrnn</td>" in web


def test_a_method_without_resets_is_compared_without(monkeypatch, tiny):
    replace_cudnn(monkeypatch)
    (row,) = on_device.checks(("jrnn:cudnn",), "lstm", "float32")
    assert row["agrees"] and row["error"] < 1e-5


def test_a_wrong_method_is_found_and_not_timed(tmp_path, monkeypatch, tiny):
    right = on_device._values

    def values(cell, method, dtype, **how):
        found = right(cell, method, dtype, **how)
        return found if method == "scan" else [leaf + 0.01 for leaf in leaves(found)]

    monkeypatch.setattr(on_device, "_values", values)
    options = ["--device", "cpu", "--cells", "gru", "--sizes", "4,2,3,5"]
    options += ["--modes", "forward", "--dtypes", "float32", "--out", str(tmp_path)]
    options += ["--peers", "jrnn:scan", "jrnn", "--rounds", "1", "--calls", "1"]
    assert command.main("bench", options) == 1
    results = json.loads((tmp_path / "device.json").read_text())
    assert [row["wrong"] for row in results["checks"]] == [False, True]
    assert [row["peer"] for row in results["rows"]] == ["jrnn:scan"]
    assert "WRONG" in (tmp_path / "device.md").read_text()


def test_a_method_that_is_never_exact_is_compared_with_a_wider_bound(monkeypatch, tiny):
    right = on_device._values

    def values(cell, method, dtype, *, precision="highest", **how):
        if method == "gated" and precision == "highest":
            raise ValueError("rounds to TF32")
        found = right(cell, method, dtype, **how)
        return [leaf * (1.01 if method == "gated" else 1) for leaf in leaves(found)]

    monkeypatch.setattr(on_device, "_values", values)
    (row,) = on_device.checks(("jrnn:gated",), "gru", "float32")
    assert row["agrees"] and row["allowed"] == on_device.INEXACT
    assert row["error"] == pytest.approx(0.01, rel=0.01)


def leaves(tree):
    return on_device.jax.tree.leaves(tree)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_errors_are_relative_to_the_largest_entry():
    a, b = [jnp.array([1.0, 4.0]), jnp.zeros(2)], [jnp.array([1.0, 5.0]), jnp.zeros(2)]
    assert on_device._error(a, b) == pytest.approx(0.2)
    assert on_device._error([jnp.array([jnp.nan])], [jnp.ones(1)]) != 0  # NaN
    assert not on_device._error([jnp.array([jnp.nan])], [jnp.ones(1)]) <= 1


def test_verdicts_compare_within_a_round():
    def row(peer, seconds, batch=32, cell="lstm"):
        what = {"cell": cell, "mode": "forward", "dtype": "float32", "size": "A"}
        return {**what, "peer": peer, "batch": batch, "seconds": seconds}

    rows = [row("torch", [1.0, 2.0, 4.0]), row("jrnn:scan", [2.0, 4.0, 8.0])]
    first, second = device_page.verdicts([*rows, row("jrnn", [1.1, 2.2, 4.4])])
    assert first.endswith("at: none.") and second.endswith("at: none.")
    first, second = device_page.verdicts([*rows, row("jrnn", [2.2, 4.4, 8.0])])
    assert "lstm forward float32 A (1.10)" in first
    assert "Of 1 LSTMs" in second and "lstm forward float32 A (2.00)" in second
    few = [{**row, "batch": 31} for row in rows]
    assert "Of 0 LSTMs" in list(device_page.verdicts(few))[1]


def test_precision_is_told_for_each_device():
    class Card:
        platform = "gpu"

    default, highest = (
        config.OnDevice("gpu", precision=name) for name in ("default", "highest")
    )
    assert "TF32" in on_device.precision(default, Card)
    assert on_device.precision(highest, Card) == "float32 (highest)"


@pytest.mark.parametrize(
    "options, message",
    [
        (["--device", "quantum"], "--device quantum is not available"),
        (["--device", "cpu", "--precision", "low"], "must be among default, highest"),
        (["--device", "cpu", "--peers", "haiku"], "must be among torch, linen, jrnn"),
        (["--compile-for", "cpu", "--methods", "x"], "--methods must be among scan"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(UserError, match=message):
        command.main("bench", options)
