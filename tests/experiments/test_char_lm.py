"""Training runs of the character model, with a tiny one: stopped, resumed, damaged."""

import dataclasses
import errno
import json
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.errors import UserError
from experiments.run import disk, folder, results, train, update
from experiments.tasks import language
from experiments.tasks.char_lm import TASK
from jrnn.training.checkpoints import CheckpointError
from tests.experiments.runs import (
    TEXT,
    log,
    newest,
    open_session,
    resume,
    start,
    steps as saved_steps,
)


def test_a_stopped_run_resumes_bit_for_bit(tiny, tmp_path):
    whole = start(tiny)
    parts = start(dataclasses.replace(tiny, out=tmp_path / "parts", stop_after=20))
    assert newest(parts)[1] == 20
    assert resume(parts) == 0
    assert newest(parts) == newest(whole)
    assert log(parts) == log(whole) and len(log(whole)) == 4


def test_a_run_stopped_within_a_call_resumes_bit_for_bit(tiny, tmp_path):
    whole = start(tiny)
    parts = start(dataclasses.replace(tiny, out=tmp_path / "parts", stop_after=13))
    assert resume(parts, stop_after=14) == 0
    assert resume(parts) == 0
    assert newest(parts) == newest(whole) and newest(parts)[1] == 40


def test_a_run_leaves_all_that_it_promises(tiny, capsys):
    path = start(tiny)
    shown = capsys.readouterr().out
    for word in ("fox.txt", "symbols", "parameters", "nats/char", "held out", "sample"):
        assert word in shown
    assert f"--resume {path}" in shown and f"sample {path}" in shown
    result = json.loads((path / "result.json").read_text())
    figures, baselines = result["figures"], result["baselines"]
    assert result["finished"] and figures["held_out_characters"] == 225  # a tenth
    (frequent,) = baselines.values()
    assert figures["held_out_nats"] < frequent["held_out_nats"] < 3.3  # log of 28
    assert results.read(path).figures == figures
    (session,) = json.loads((path / "env.json").read_text())
    assert session["jax"] == jax.__version__ and session["devices"] == "2 x cpu"
    assert '"text"' in (path / "samples.jsonl").read_text()
    assert not list(path.rglob("*.part"))


def test_a_finished_run_is_left_alone(tiny, capsys):
    path = start(tiny)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    for steps in (40, 30):
        assert resume(path, steps=steps) == 0
        shown = capsys.readouterr().out
        assert "This run is finished: it trained 40 updates" in shown
        assert "--steps 80" in shown
    after = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert after == before


def test_damaged_metrics_do_not_stop_a_run(tiny):
    path = start(dataclasses.replace(tiny, stop_after=20))
    metrics = path / "metrics.jsonl"
    first, second = metrics.read_bytes().splitlines()
    metrics.write_bytes(first + b"\n\xff\xfe{\n[1]\n" + second + b"\n")
    assert resume(path) == 0
    assert [row["step"] for row in log(path)] == [10, 20, 30, 40]


def test_a_run_that_diverges_ends_with_an_error(tiny, capsys):
    config = dataclasses.replace(tiny, learning_rate=1e6, warmup=0.0)
    assert train.run(TASK, config) == train.DIVERGED
    assert "warning: the loss is larger than at the start" in capsys.readouterr().out


def test_the_loss_falls_and_two_devices_agree_with_one(tiny):
    losses = []
    for devices in ("1", "2"):  # each device draws its own dropout: leave it out
        session = open_session(dataclasses.replace(tiny, dropout=0.0, devices=devices))
        compiled = session.compile()
        losses.append([session.advance(*compiled).loss for _ in range(4)])
    one, two = losses
    assert one[-1] < 0.9 * one[0]
    assert one == pytest.approx(two, rel=1e-4)


def test_another_size_or_text_cannot_be_resumed(tiny, text, tmp_path):
    path = start(dataclasses.replace(tiny, stop_after=10))
    with pytest.raises(UserError, match="--chunk was 7 and is now 8"):
        resume(path, chunk=8)
    other = tmp_path / "other.txt"
    other.write_text(TEXT.replace("fox", "cat"))
    with pytest.raises(UserError, match="different data .*sha256 was"):
        resume(path, text=other)
    moved = tmp_path / "moved.txt"
    moved.write_text(TEXT)
    assert resume(path, text=moved, stop_after=20) == 0


def test_a_folder_with_a_run_is_not_overwritten(tiny):
    start(dataclasses.replace(tiny, stop_after=10))
    with pytest.raises(UserError, match="already contains a run.*--resume"):
        train.run(TASK, tiny)


def test_damage_is_noticed_and_the_checkpoint_before_is_used(tiny, capsys):
    path = start(dataclasses.replace(tiny, stop_after=10))
    resume(path, stop_after=20)
    damaged = path / "checkpoints" / "step_00000020" / "params.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 4
    damaged.write_bytes(content)
    assert resume(path, stop_after=11) == 0
    shown = capsys.readouterr().out
    assert "step_00000020 was skipped: params.safetensors is damaged" in shown
    assert log(path)[-1]["step"] == 11
    for file in path.glob("checkpoints/step_*/*"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match="no intact checkpoint"):
        resume(path)


def test_a_run_of_another_format_is_refused(tiny):
    path = start(dataclasses.replace(tiny, stop_after=10))
    file = path / "config.json"
    file.write_text(file.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(UserError, match="format 3.*format 2"):
        folder.read(path)


def test_two_runs_cannot_share_a_folder(tiny):
    with (
        folder.opened(tiny.out, {}),
        pytest.raises(UserError, match=f"in use by process {os.getpid()}"),
    ):
        train.run(TASK, tiny)
    assert [file.name for file in tiny.out.iterdir()] == ["checkpoints"]


def test_devices_that_are_not_there_are_told_before_a_folder_is_made(tiny):
    with pytest.raises(UserError, match="devices"):
        train.run(TASK, dataclasses.replace(tiny, devices="9", batch_size=9))
    assert not tiny.out.exists()


@pytest.mark.parametrize("rows", [5, 1])
def test_a_batch_that_does_not_divide_is_trained_as_on_one_device(tiny, rows):
    """Two devices compute 3 and 2 of 5 rows, or 1 and none of 1."""
    found = []
    for devices in ("1", "2"):
        config = dataclasses.replace(
            tiny, dropout=0.0, devices=devices, batch_size=rows
        )
        session = open_session(config)
        compiled = session.compile()
        losses = [session.advance(*compiled).loss for _ in range(2)]
        state = session.split.gather(session.learner.state)
        found.append((losses, state, jax.device_get(session.learner.params)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *found)


def test_a_run_moves_to_another_number_of_devices(tiny, capsys):
    config = dataclasses.replace(tiny, dropout=0.0, batch_size=5, stop_after=20)
    path = start(config)
    assert resume(path, devices="1", stop_after=40) == 0
    assert "--devices was 2 and is now 1" in capsys.readouterr().out
    moved = log(path)[-1]["loss"]
    whole = dataclasses.replace(config, stop_after=None, out=tiny.out / "whole")
    assert log(start(whole))[-1]["loss"] == pytest.approx(moved, rel=1e-4)


def test_a_disk_that_cannot_be_written_is_told_before_training(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/run.*another folder"):
        train.run(TASK, dataclasses.replace(tiny, out=tmp_path / "file" / "run"))


def test_a_full_disk_is_told_with_what_to_do(tmp_path):
    with (
        pytest.raises(UserError, match="No space left.*free some space"),
        disk.writing(tmp_path, 9),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_bad_gradients_stop_a_run_and_are_never_saved(tiny):
    session = open_session(tiny)
    advance, ring = session.compile()
    poison = jax.tree.map(lambda a: a * jnp.nan, session.learner.params)
    session.learner = session.learner._replace(params=poison)
    standing = session.advance(advance, ring)
    assert standing.skipped == 10 and math.isnan(standing.loss)
    (row,) = log(tiny.out)
    assert row["loss"] is None and row["norm"] is None and row["skipped"] == 10
    with pytest.raises(UserError, match="at step 20: 20 gradients in a row"):
        session.advance(advance, ring)
    assert row["skipped_steps"] == list(range(10))
    with (
        session.opened(),
        pytest.raises(CheckpointError, match="params.*is not finite"),
    ):
        session.save()
    assert saved_steps(tiny.out) == []


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_a_skipped_update_is_logged_with_its_position(tiny, monkeypatch, capsys):
    loss = type(TASK).loss

    def poisoned(task, model, params, state, batch, key):
        value, state = loss(task, model, params, state, batch[:3], key)
        return value * jnp.where(jnp.any(batch[3] == 13), jnp.nan, 1.0), state

    batch_of = type(TASK).batch

    def batch(task, options, arrays, step, rows):
        return *batch_of(task, options, arrays, step, rows), jnp.full(len(rows), step)

    update.make_advance.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(type(TASK), "loss", poisoned)
        patch.setattr(type(TASK), "batch", batch)
        path = start(tiny)
    update.make_advance.cache_clear()
    assert "skipped updates with gradients that are not finite: [13]" in (
        capsys.readouterr().out
    )
    rows = log(path)
    assert [row.get("skipped_steps") for row in rows] == [None, [13], None, None]
    assert [row["skipped"] for row in rows] == [0, 1, 1, 1]


def test_evaluation_carries_the_state_to_the_end(tiny, monkeypatch):
    session = open_session(tiny)
    data, params = session.data, jax.device_get(session.learner.params)
    read = jnp.concatenate([data.arrays[-1:], data.held_out])[None]
    _, logits = session.model.apply(params, None, read[:, :-1])
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), read[:, 1:, None], -1)

    def score(**changes):
        options = dataclasses.replace(tiny, **changes)
        found = TASK.score(options, session.model, params, data, lambda done: None)
        return found.figures["held_out_nats"]

    monkeypatch.setattr(language, "SCORED", 100)
    assert score() == pytest.approx(-float(chosen.mean()), rel=1e-5)
    part = -float(chosen[:, :150].mean())
    assert score(score=150) == pytest.approx(part, rel=1e-5)


def test_an_estimate_reads_places_spread_over_the_held_out_text(tiny, monkeypatch):
    session = open_session(tiny)
    data, params = session.data, jax.device_get(session.learner.params)
    monkeypatch.setattr(language, "GLANCE", (3, 10, 20))
    score = TASK.glance(tiny, session.model, params, data)
    losses = []
    for place in (0, 97, 194):  # of 225 characters, 31 are read at each place
        read = jnp.asarray(data.held_out[place : place + 31])
        _, logits = session.model.apply(params, None, read[:-1])
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), read[1:, None], -1)
        losses.append(-float(chosen[10:].mean()))
    expected = sum(losses) / 3
    assert score.figures["held_out_nats"] == pytest.approx(expected, rel=1e-5)
    assert score.figures["held_out_characters"] == 60


def test_a_run_that_is_none_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"is not a run: config\.json"):
        folder.read(tmp_path)
