"""Sweeps: every combination once, each in its folder, continued by the same command."""

import dataclasses
import signal

import pytest

from experiments import tasks
from experiments.__main__ import main
from experiments.errors import UserError
from experiments.run import folder, results, sweep, train
from tests.experiments.runs import newest

SMALL = "--length 5 --unseen 9 --examples 7 --hidden-size 4 --batch-size 4 --steps 12"
SMALL = f"{SMALL} --samples 0 --devices 2".split()


@pytest.fixture(autouse=True)
def _devices(monkeypatch):
    monkeypatch.setattr("experiments.run.devices.prepare", lambda devices: None)


def test_the_same_command_continues_a_sweep(tmp_path, monkeypatch, capsys):
    out = tmp_path / "sweep"
    words = ["sweep", "parity", "--grid", "seed=3,4", *SMALL, "--out", str(out)]
    assert main([*words, "--stop-after", "5"]) == 0
    assert "No run is finished." in capsys.readouterr().out
    assert main(words) in (0, train.DIVERGED)
    shown = capsys.readouterr().out
    assert "| accuracy | seeds | minutes |" in shown and "± " in shown
    paths = [out / "seed=3", out / "seed=4"]
    assert [folder.read(path).options.seed for path in paths] == [3, 4]

    task = tasks.find("parity")
    alone = folder.read(paths[1]).options
    train.run(task, dataclasses.replace(alone, out=tmp_path / "alone"))
    assert newest(paths[1]) == newest(tmp_path / "alone")

    monkeypatch.setattr(train, "run_until", lambda *args: pytest.fail("trained"))
    assert main(words) == 0
    assert capsys.readouterr().out.count(": finished") == 2


def test_a_sweep_goes_on_after_a_run_that_fails_and_stops_at_a_signal(
    tmp_path, monkeypatch, capsys
):
    ran = []

    def run_until(request, task, options, old):
        ran.append((options.cell, options.seed))
        if len(ran) == 1:
            raise UserError("gradients are not finite")
        if len(ran) == 3:
            request.signal = signal.SIGTERM
            return request.exit_code
        return train.DIVERGED if len(ran) == 2 else 0

    monkeypatch.setattr(train, "run_until", run_until)
    words = ["sweep", "parity", "--grid", "cell=gru,lstm", "--seeds", "2"]
    assert main([*words, "--seed", "5", "--out", str(tmp_path)]) == 75
    assert ran == [("gru", 5), ("gru", 6), ("lstm", 5)]
    shown = capsys.readouterr().out
    assert "cell=gru,seed=5: gradients are not finite" in shown
    assert "cell=gru,seed=6: the loss is larger" in shown


def test_a_table_has_the_values_of_the_grid(tmp_path, monkeypatch):
    task = tasks.find("parity")
    for cell in ("gru", "lstm"):
        (tmp_path / cell).mkdir()
        (tmp_path / cell / "config.json").touch()

    def read(path):
        run = folder.Run(task, task.options(cell=path.name), task.load(task.options()))
        figures = {"accuracy": {"gru": 0.5, "lstm": 1.0}[path.name]}
        return results.Result(run, figures, {}, 12, 30.0, "cpu")

    monkeypatch.setattr(results, "read", read)
    text = sweep.table([tmp_path / "gru", tmp_path / "lstm", tmp_path / "no"], ["cell"])
    assert text.splitlines()[2:] == [
        "| gru | 0.5 | 1 | 0.5 |",
        "| lstm | 1 | 1 | 0.5 |",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--grid hiden=4", "no option hiden that can vary. Do you mean hidden_size"),
        ("--grid devices=1,2", "no option devices that can vary"),
        ("--grid cell", "must be KEY=A,B, such as"),
        ("--grid cell=", "must be KEY=A,B, such as"),
        ("--grid cell=gru,lstn", "--cell lstn is not a cell. Do you mean lstm"),
        ("--grid method=scan,linear", "--method linear with --cell lstm: it needs a"),
        ("--grid seed=1,2 --seeds 2", "cannot be combined"),
        ("--grid cell=gru --grid cell=lstm", "cell is given twice"),
        ("--grid learning-rate=-1,1", "--learning-rate must be positive"),
        ("--seeds 0", "--seeds must be at least 1"),
        ("--resume runs", "omit --resume"),
    ],
)
def test_a_wrong_grid_starts_nothing(tmp_path, monkeypatch, words, message):
    monkeypatch.setattr(train, "run_until", lambda *args: pytest.fail("trained"))
    out = ["--out", str(tmp_path / "sweep")]
    with pytest.raises(UserError, match=message):
        main(["sweep", "parity", *words.split(), *out])
    assert not list(tmp_path.iterdir())


def test_a_folder_of_other_options_is_named(tmp_path):
    task = tasks.find("parity")
    path = tmp_path / "seed=0"
    path.mkdir()
    folder.create(path, task, task.options(hidden_size=7), task.load(task.options()))
    with pytest.raises(
        UserError, match="seed=0 contains a run with a different hidden_size"
    ):
        main(["sweep", "parity", "--out", str(tmp_path)])
