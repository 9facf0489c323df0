"""Figures of runs: what is in the records is what is drawn."""

import json
import shutil

import pytest

from experiments.__main__ import main
from experiments.errors import UserError
from experiments.run import folder

pytest.importorskip("matplotlib")

from experiments import figures  # noqa: E402  where there is what draws
from experiments.run import plot  # noqa: E402


def test_a_run_is_plotted_as_it_was_recorded(finished, tmp_path, capsys):
    figure = plot.draw([finished], [folder.read(finished)])
    loss, score, norm = figure.axes
    rows = [
        json.loads(r) for r in (finished / "metrics.jsonl").read_text().split("\n")[:-1]
    ]
    assert list(loss.get_lines()[0].get_xdata()) == [10, 20, 30, 40]
    assert list(loss.get_lines()[0].get_ydata()) == [row["loss"] for row in rows]
    assert list(norm.get_lines()[0].get_ydata()) == [row["norm"] for row in rows]
    result = json.loads((finished / "result.json").read_text())
    assert score.get_lines()[0].get_ydata()[-1] == result["figures"]["held_out_nats"]
    assert "char_lm" in figure.get_suptitle() and "LSTM" in figure.get_supxlabel()
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in figure.axes)
    colors = {line.get_color() for ax in figure.axes for line in ax.get_lines()}
    assert colors == {figures.COLORS[0]}

    out = tmp_path / "new" / "run.svg"
    assert main(["plot", str(finished), str(finished), "--out", str(out)]) == 0
    assert out.read_text().count("<svg") == 1 and str(out) in capsys.readouterr().out


@pytest.mark.parametrize("words", ["plot --out a.png", "parity", "report"])
def test_a_command_without_a_run_asks_for_one(words, monkeypatch):
    monkeypatch.setattr("experiments.run.devices.prepare", lambda devices: None)
    with pytest.raises(UserError, match="no run is given: pass the folder of a run"):
        main(words.split())


def test_wrong_runs_and_files_are_named(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    with pytest.raises(UserError, match="must end in .png, .svg, .pdf, got a.txt"):
        main(["plot", str(copy), "--out", "a.txt"])
    metrics = copy / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:200] + b"\xff\n[1]\n")
    (row,) = plot.lines(metrics)
    assert row["step"] == 10
    metrics.unlink()
    with pytest.raises(UserError, match="copy has no metrics yet"):
        main(["plot", str(copy), "--out", str(tmp_path / "a.png")])
    config = copy / "config.json"
    config.write_text(config.read_text().replace('"char_lm"', '"word_lm"'))
    with pytest.raises(UserError):
        main(["plot", str(copy), str(finished), "--out", str(tmp_path / "a.png")])
    assert not (tmp_path / "a.png").exists()
