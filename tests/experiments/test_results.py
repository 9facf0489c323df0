"""The page of results: only what finished runs computed, with mean and spread."""

import json
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
    assert "4 finished runs; 1 others" in capsys.readouterr().out
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


def test_the_same_seed_twice_counts_once(tmp_path):
    for name, value in [("a", 0.2), ("b", 0.4)]:
        write(tmp_path / name, figures={"1921-55": value, "1956-79": value})
    (group,) = results.groups(map(results.read, results.find([tmp_path])))
    assert [one.figures["1921-55"] for one in group] == [0.4]


def test_nothing_is_written_without_a_finished_run(tmp_path, capsys):
    page = tmp_path / "page.md"
    with pytest.raises(UserError, match="contains no run"):
        main(["results", str(tmp_path / "none"), "--out", str(page)])
    write(tmp_path / "runs" / "a", finished=False)
    with pytest.raises(UserError, match="none of 1 runs is finished"):
        main(["results", str(tmp_path / "runs"), "--out", str(page)])
    (tmp_path / "runs" / "a" / "result.json").write_text('{"finished": true}')
    with pytest.raises(UserError, match="none of 1 runs is finished"):
        main(["results", str(tmp_path / "runs"), "--out", str(page)])
    warning = capsys.readouterr().err
    assert (
        "warning: left out: " in warning and "a/result.json cannot be used" in warning
    )
    (tmp_path / "runs" / "a" / "result.json").unlink()
    with pytest.raises(UserError, match="none of 1 runs is finished"):
        main(["results", str(tmp_path / "runs"), "--out", str(page)])
    assert not page.exists()
