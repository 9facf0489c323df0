"""Training runs of the character model, with a tiny one: stopped, resumed, damaged."""

import dataclasses
import json
import math
import os

import jax
import jax.numpy as jnp
import pytest

from experiments.char_lm import run_folder, train
from experiments.char_lm.evaluate import held_out_loss
from experiments.errors import UserError
from tests.experiments.runs import TEXT, log, newest, open_session, resume, start


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
    for word in ("fox.txt", "symbols", "parameters", "bits/char", "held out", "sample"):
        assert word in shown
    assert f"--resume {path}" in shown and f"sample {path}" in shown
    result = json.loads((path / "result.json").read_text())
    assert result["finished"] and result["held_out_nats"] < 3.3  # log of 28 symbols
    assert result["held_out_characters"] == 225  # a tenth
    (session,) = json.loads((path / "env.json").read_text())
    assert session["jax"] == jax.__version__ and session["devices"] == "2 x cpu"
    assert "held-out" in (path / "samples.txt").read_text()
    assert not list(path.rglob("*.part"))


def test_a_finished_run_is_left_alone(tiny, capsys):
    path = start(tiny)
    before = newest(path), log(path)
    assert resume(path) == 0
    assert "This run is finished" in capsys.readouterr().out
    assert (newest(path), log(path)) == before


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
    with pytest.raises(UserError, match="another text .*sha256 was"):
        resume(path, text=other)
    moved = tmp_path / "moved.txt"
    moved.write_text(TEXT)
    assert resume(path, text=moved, stop_after=20) == 0


def test_a_folder_with_a_run_is_not_overwritten(tiny):
    start(dataclasses.replace(tiny, stop_after=10))
    with pytest.raises(UserError, match="already contains a run.*--resume"):
        train.run(tiny)


def test_damage_is_noticed_and_the_checkpoint_before_is_used(tiny, capsys):
    path = start(dataclasses.replace(tiny, stop_after=10))
    resume(path, stop_after=20)
    newer, older = run_folder.checkpoints(path)
    damaged = bytearray(newer.read_bytes())
    damaged[-3] ^= 4
    newer.write_bytes(damaged)
    (path / "checkpoints" / "step_abc").mkdir()
    (path / "checkpoints" / "99.safetensors.bak").write_text("junk")
    os.utime(older, (0, 0))
    assert resume(path, stop_after=11) == 0
    shown = capsys.readouterr().out
    assert "checkpoint skipped" in shown and newer.name in shown
    assert log(path)[-1]["step"] == 11
    for file in run_folder.checkpoints(path):
        file.write_bytes(b"")
    with pytest.raises(UserError, match="no valid checkpoint"):
        resume(path)


def test_a_run_of_another_format_is_refused(tiny):
    path = start(dataclasses.replace(tiny, stop_after=10))
    file = path / "config.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(UserError, match="format 2.*format 1"):
        run_folder.read(path)


def test_two_runs_cannot_share_a_folder(tmp_path):
    with (
        run_folder.locked(tmp_path),
        pytest.raises(UserError, match=f"in use by process {os.getpid()}"),
        run_folder.locked(tmp_path),
    ):
        pass
    with run_folder.locked(tmp_path):
        pass


def test_devices_that_do_not_fit_are_told_before_a_folder_is_made(tiny):
    for config in (
        dataclasses.replace(tiny, devices="9", batch_size=9),
        dataclasses.replace(tiny, devices="2", batch_size=3),
    ):
        with pytest.raises(UserError, match="devices"):
            train.run(config)
    assert not tiny.out.exists()


def test_a_disk_that_cannot_be_written_is_told_before_training(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/run"):
        train.run(dataclasses.replace(tiny, out=tmp_path / "file" / "run"))


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
    with pytest.raises(UserError, match="not finite"):
        session.save()
    assert run_folder.checkpoints(tiny.out) == []


def test_evaluation_carries_the_state_to_the_end(tiny, monkeypatch):
    session = open_session(tiny)
    data, params = session.data, jax.device_get(session.learner.params)
    read = jnp.concatenate([data.train[-1:], data.held_out])[None]
    _, logits = session.model.apply(params, None, read[:, :-1])
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), read[:, 1:, None], -1)
    monkeypatch.setattr("experiments.char_lm.evaluate.CHUNK", 100)
    actual = held_out_loss(session.model, params, data)
    assert actual == pytest.approx(-float(chosen.mean()), rel=1e-5)
    part = held_out_loss(session.model, params, data, limit=150)
    assert part == pytest.approx(-float(chosen[:, :150].mean()), rel=1e-5)


def test_a_run_that_is_none_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"is not a run: config\.json"):
        run_folder.read(tmp_path)
