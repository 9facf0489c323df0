"""Two processes on this machine train as one, or say why they cannot."""

import json
import os
import time

import pytest

from experiments.drill import launch
from jrnn.training import peers
from jrnn.training.checkpoints import folder

SHARED = {"steps": 6, "every": 3, "devices": 2}


def losses(path):
    lines = (path / "losses.jsonl").read_text().splitlines()
    return [float.fromhex(json.loads(line)[1]) for line in lines]


def test_two_processes_train_as_one_and_refuse_to_differ(tmp_path):
    """Two begin, one goes on, and two again: as one that nothing interrupts."""
    pair, alone = tmp_path / "pair", SHARED | {"devices": 4}
    whole = launch.train(tmp_path / "whole", **alone | {"steps": 12})
    both = launch.train_together(pair, [{}, {}], **SHARED)
    one = launch.train(pair, **alone | {"steps": 9})
    again = launch.train_together(pair, [{}, {}], **SHARED | {"steps": 12})
    assert [each.code for each in [whole, *both, one, *again]] == [0] * 6, again
    assert "processes was" not in both[0].err
    assert "processes was 2 and is now 1: results may differ" in one.err
    assert "processes was 1 and is now 2: results may differ" in again[0].err
    assert losses(pair) == pytest.approx(losses(tmp_path / "whole"), abs=1e-6)
    differing = launch.train_together(
        pair, [{}, {"seed": 7, "hidden_size": 9}], **SHARED
    )
    for each in differing:
        assert each.code == 2
        assert "process 1: facts.config.seed is 7 instead of 0" in each.err
        assert "facts.config.hidden_size is 9 instead of 6" in each.err


@pytest.mark.skipif(
    "JRNN_WHOLE" not in os.environ,
    reason="takes 20 seconds, and the drill does it too: JRNN_WHOLE=1",
)
def test_the_other_says_that_one_is_lost(tmp_path):
    shared = {**SHARED, "processes": 2, "port": launch.free_port(), "kill_at": 4}
    started = [
        launch.start(launch.TRAINER, launch.describe(tmp_path, process=i, **shared))
        for i in range(2)
    ]
    ended = [launch.end(each, time.monotonic()) for each in started]
    assert [each.code for each in ended] == [peers.LOST, -9]
    assert "they resume at the newest checkpoint" in ended[0].err
    assert folder.list_steps(tmp_path) == [3]
