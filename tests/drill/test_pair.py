"""Two processes on this machine train as one, or say why they cannot."""

import json

import pytest

from experiments.drill import launch

SHARED = {"steps": 6, "every": 3, "devices": 2}


def losses(folder):
    lines = (folder / "losses.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [float.fromhex(row[1]) for row in rows], [row[2] for row in rows]


def test_two_processes_train_as_one_and_refuse_to_differ(tmp_path):
    both = launch.train_together(tmp_path / "two", [{}, {}], **SHARED)
    assert [each.code for each in both] == [0, 0], both
    one = launch.train(tmp_path / "one", **SHARED | {"devices": 4})
    assert one.code == 0, one.err
    assert losses(tmp_path / "two")[0] == pytest.approx(
        losses(tmp_path / "one")[0], abs=1e-6
    )
    differing = launch.train_together(
        tmp_path / "two", [{}, {"seed": 7, "hidden_size": 9}], **SHARED
    )
    for each in differing:
        assert each.code == 2
        assert "process 1: facts.config.seed is 7 instead of 0" in each.err
        assert "facts.config.hidden_size is 9 instead of 6" in each.err
