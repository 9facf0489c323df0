"""The page of results: only what finished runs computed, with mean and spread."""

import json
import os
import statistics

import pytest

from experiments import tasks
from experiments.__main__ import main
from experiments.errors import UserError
from experiments.run import folder, results
from experiments.run.task import Data

SCORES = {1: 0.12, 2: 0.13, 3: 0.17}


def write(path, seed=0, finished=True, figures=None, step=40, **options):
    """Writes the folder of a run of sunspots, as a run of 40 updates leaves it."""
    task = tasks.find("sunspots")
    path.mkdir(parents=True)
    given = task.options(**{"seed": seed, "steps": 40} | options)
    folder.create(path, task, given, Data("spots", {"sha256": "1"}, {}, ()))
    session = {"devices": "2 x cpu", "cores": 2, "jax": "0.10"}
    (path / "env.json").write_text(json.dumps([{}, session]))
    result = {
        "step": step,
        "seconds": 60.0 * (seed + 1),
        "together": 1,
        "finished": finished,
        "figures": figures or {"1921-55": 0.2, "1956-79": 0.3},
        "baselines": {"AR(9)": {"1921-55": 0.126, "1956-79": 0.351}},
    }
    (path / "result.json").write_text(json.dumps(result))


def test_runs_of_equal_options_are_a_row_with_mean_and_spread(tmp_path, capsys):
    runs, page = tmp_path / "runs", tmp_path / "page.md"
    for seed, value in SCORES.items():
        figures = {"1921-55": value, "1956-79": 0.5}
        write(runs / "sweep" / str(seed), seed, figures=figures)
    write(runs / "other", cell="lstm", devices="1")
    write(runs / "unfinished", finished=False, cell="elman")
    assert main(["results", str(runs), "--out", str(page)]) == 0
    said = capsys.readouterr()
    assert "4 finished runs; 1 left out" in said.out
    assert f"warning: left out: {runs / 'unfinished'} is not finished" in said.err
    text = page.read_text()
    assert "elman" not in text
    lstm, three = [line for line in text.splitlines() if "steps=40" in line]
    mean, spread = statistics.fmean(SCORES.values()), statistics.stdev(SCORES.values())
    assert f"1921-55 {mean:.4g} ± {spread:.2g}; 1956-79 0.5 ± 0" in three
    assert "1921-55 ≤ 0.127 (AR(9), Weigend 1990): missed" in three
    assert "1921-55: 0.126 (AR(9)); 1956-79: 0.351 (AR(9))" in three
    assert "| 3 |" in three and "| 2 | 40 |" in three  # seeds; minutes and updates
    assert "sweep sunspots --grid seed=1,2,3 --steps 40`" in three
    assert "train sunspots --steps 40 --cell lstm`" in lstm and "±" not in lstm
    assert "1956-79 ≤ 0.353 (AR(9), Weigend 1990): reached" in lstm


def test_a_length_is_named_unless_it_is_the_default_now(tmp_path):
    usual = tasks.find("sunspots").options.UPDATES
    write(tmp_path / "given", step=usual, steps=usual)
    write(tmp_path / "default", seed=1, step=usual, steps=None)
    write(tmp_path / "default before", step=usual + 9, steps=None)
    found = [results.read(path) for path in results.find([tmp_path])]
    page = results.page(found)
    assert "| the default ones |" in page and f"| steps={usual + 9} |" in page
    assert "`python -m experiments sweep sunspots --grid seed=0,1`" in page
    assert f"`python -m experiments train sunspots --steps {usual + 9}`" in page


def test_a_figure_that_should_be_large_is_compared_the_other_way(tmp_path):
    task = tasks.find("digits")
    path = tmp_path / "run"
    write(path)
    first = results.read(path)
    run = folder.Run(task, task.options(steps=40), first.run.data)
    good = first._replace(run=run, figures={"accuracy": 0.98}, baselines={})
    assert "accuracy ≥ 0.97 (target): reached" in results.page([good])
    bad = good._replace(figures={"accuracy": 0.9})
    assert "accuracy ≥ 0.97 (target): missed" in results.page([bad])


@pytest.mark.parametrize("early, late", ["ab", "ba"])
def test_the_same_seed_twice_counts_once(tmp_path, capsys, early, late):
    runs, page = tmp_path / "runs", tmp_path / "page.md"
    for time, (name, value) in enumerate([(early, 0.2), (late, 0.4)]):
        write(runs / name, figures={"1921-55": value, "1956-79": value})
        os.utime(runs / name / "result.json", (time, time))
    assert main(["results", str(runs), "--out", str(page)]) == 0
    said = capsys.readouterr()
    assert "1 finished run; 1 left out" in said.out
    both = f"{runs / early} has the options and the seed of {runs / late}, which"
    assert f"left out: {both} finished later." in said.err
    assert "1921-55 0.4;" in page.read_text()


def test_runs_from_other_weights_are_other_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, weights in [("a", b"1"), ("b", b"2"), ("copy of a", b"1")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_bytes(weights)
    write(tmp_path / "runs" / "1", weights=tmp_path / "a" / "weights.safetensors")
    write(tmp_path / "runs" / "2", weights=tmp_path / "b")
    write(tmp_path / "runs" / "3", seed=1, weights=tmp_path / "copy of a")
    write(tmp_path / "runs" / "4")
    found = [results.read(path) for path in results.find([tmp_path / "runs"])]
    assert [len(group) for group in results.groups(found)] == [2, 1, 1]
    one, other, last = map(results.command, results.groups(found))
    assert one.endswith("--grid seed=0,1 --steps 40 --weights a/weights.safetensors")
    assert other.endswith("--steps 40 --weights b") and last.endswith("--steps 40")
    copy = results.command(found[2:3])
    assert copy.endswith("--weights 'copy of a' --seed 1")


def test_runs_that_recorded_no_hash_are_told_apart_by_the_path_of_the_weights(tmp_path):
    for name in ("a", "b"):
        weights = tmp_path / name / "weights.safetensors"
        weights.parent.mkdir()
        weights.write_bytes(b"1")
        write(tmp_path / "runs" / name, weights=weights)
        file = tmp_path / "runs" / name / "config.json"
        config = json.loads(file.read_text())
        del config["start"]
        file.write_text(json.dumps(config))
    found = map(results.read, results.find([tmp_path / "runs"]))
    assert len(results.groups(found)) == 2


def test_nothing_is_written_without_a_finished_run(tmp_path, capsys):
    page = tmp_path / "page.md"
    with pytest.raises(UserError, match="contains no run"):
        main(["results", str(tmp_path / "none"), "--out", str(page)])
    write(tmp_path / "runs" / "a", finished=False)
    with pytest.raises(UserError, match="found 1 run, but none is finished"):
        main(["results", str(tmp_path / "runs"), "--out", str(page)])
    (tmp_path / "runs" / "a" / "result.json").write_text('{"finished": true}')
    with pytest.raises(UserError, match="found 1 run, but none is finished"):
        main(["results", str(tmp_path / "runs"), "--out", str(page)])
    warning = capsys.readouterr().err
    assert (
        "warning: left out: " in warning and "a/result.json cannot be used" in warning
    )
    (tmp_path / "runs" / "a" / "result.json").unlink()
    write(tmp_path / "runs" / "b", finished=False)
    with pytest.raises(UserError, match="found 2 runs, but none is finished"):
        main(["results", str(tmp_path / "runs"), "--out", str(page)])
    assert not page.exists()
