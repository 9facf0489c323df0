"""Seeds that train at once get the results that they get alone."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from experiments import tasks
from experiments.__main__ import main
from experiments.errors import UserError
from experiments.run import folder, results, together, train
from experiments.tasks.char_lm import TASK
from jrnn.training.stopping import stop_requests
from tests.experiments.runs import log, open_session, resume, start

SEEDS = 3, 4, 2**32 - 1


def sweep(configs, olds=None):
    """Trains runs at once and returns their exit codes."""
    with stop_requests() as request:
        return together.run_until(request, TASK, configs, olds or [None] * len(configs))


def same(path, other):
    """Compares weights, metrics and scores of two runs, up to rounding."""
    pairs = [folder.trained(where)[2] for where in (path, other)]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *pairs
    )
    for row, alone in zip(log(path), log(other), strict=True):
        assert row == pytest.approx(alone, rel=1e-4)
    one, two = (results.read(where).figures for where in (path, other))
    assert one == pytest.approx(two, rel=1e-4)


def test_each_seed_equals_the_run_of_that_seed_alone(tiny, tmp_path):
    assert tiny.dropout and tiny.devices == "2"  # keys of their own, split rows
    configs = [
        dataclasses.replace(tiny, seed=seed, out=tmp_path / str(seed)) for seed in SEEDS
    ]
    assert sweep(configs) == [0] * 3
    alone = start(dataclasses.replace(tiny, seed=SEEDS[1], out=tmp_path / "alone"))
    same(tmp_path / str(SEEDS[1]), alone)
    last = start(dataclasses.replace(tiny, seed=SEEDS[2], out=tmp_path / "last"))
    same(tmp_path / str(SEEDS[2]), last)
    weights = [folder.trained(config.out)[2][0].table for config in configs]
    assert not np.allclose(weights[0], weights[1], atol=1e-2)
    result = json.loads((tmp_path / "3" / "result.json").read_text())
    assert result["together"] == 3

    parts = [
        dataclasses.replace(c, stop_after=20, out=tmp_path / f"part{c.seed}")
        for c in configs[:2]
    ]
    assert sweep(parts) == [0, 0]
    old = [folder.read(part.out).options for part in parts]
    again = [
        dataclasses.replace(o, resume=p.out) for o, p in zip(old, parts, strict=True)
    ]
    assert resume(parts[0].out, stop_after=30) == 0  # one seed goes on alone
    with pytest.raises(UserError, match="after 20 and 30 updates.*one at a time"):
        sweep(again, old)
    assert resume(parts[1].out, stop_after=30) == 0
    assert sweep(again, old) == [0, 0]
    same(parts[1].out, alone)


def test_seeds_end_without_the_weights_that_they_started_from(tiny, finished, tmp_path):
    given = shutil.copytree(finished, tmp_path / "given")
    parts = [
        dataclasses.replace(
            tiny, seed=seed, weights=given, stop_after=20, out=tmp_path / str(seed)
        )
        for seed in SEEDS[:2]
    ]
    assert sweep(parts) == [0, 0]
    shutil.rmtree(given)
    old = [folder.read(part.out).options for part in parts]
    again = [
        dataclasses.replace(o, resume=p.out) for o, p in zip(old, parts, strict=True)
    ]
    assert sweep(again, old) == [0, 0]


def test_a_sweep_trains_its_seeds_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.run.devices.prepare", lambda devices: None)
    calls = []

    def run_until(request, task, options, olds):
        calls.append([(one.cell, one.seed) for one in options])
        return [0, train.DIVERGED]

    monkeypatch.setattr(together, "run_until", run_until)
    monkeypatch.setattr(train, "run_until", lambda *args: pytest.fail("alone"))
    words = ["--grid", "cell=gru,lstm", "--seeds", "2", "--vmap-seeds"]
    assert main(["sweep", "parity", *words, "--out", str(tmp_path)]) == 1
    assert calls == [[("gru", 0), ("gru", 1)], [("lstm", 0), ("lstm", 1)]]
    shown = capsys.readouterr().out
    assert "cell=lstm,seed=1: the loss is larger" in shown
    assert tasks.find("parity").options().seed == 0


def test_a_seed_is_more_than_the_first_weights(tiny, finished):
    losses = []
    for seed in (1, 2, 1):
        config = dataclasses.replace(tiny, seed=seed, weights=finished)
        session = open_session(config)
        losses.append(session.advance(*session.compile()).loss)
    assert losses[0] == losses[2] != losses[1]  # other dropout masks
