"""Weights: the best ones are kept, and runs start from those of another run."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.errors import UserError
from experiments.run import folder, train
from experiments.run.session import Session
from experiments.run.task import Score
from experiments.tasks import char_lm
from experiments.tasks.char_lm import TASK
from jrnn.storage import named_arrays
from tests.experiments.runs import TEXT, log, newest, resume, start


@pytest.fixture(autouse=True)
def _process(monkeypatch):
    monkeypatch.setattr("experiments.run.devices.prepare", lambda devices: None)
    monkeypatch.setattr("sys.stdout.reconfigure", lambda **how: None, raising=False)


def equal(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_best_weights_are_kept_beside_the_last(tiny, monkeypatch, capsys):
    seen, scores = [], iter([3.0, 1.0, 2.0, float("nan")])

    def glance(task, options, model, params, data):
        seen.append(jax.tree.map(np.asarray, params))
        return Score({"held_out_nats": next(scores)}, "a score")

    monkeypatch.setattr(char_lm.CharLM, "glance", glance)
    path = start(dataclasses.replace(tiny, samples=3))
    assert f"eval {path} --best" in capsys.readouterr().out
    assert len(seen) == 4
    best, last = folder.trained(path, best=True)[2], folder.trained(path)[2]
    assert equal(best, seen[1]) and equal(last, seen[3]) and not equal(best, last)
    assert folder.best_score(path) == 1.0

    assert main(["eval", str(path), "--best"]) == 0
    score = json.loads(capsys.readouterr().out.splitlines()[-1])
    result = json.loads((path / "result.json").read_text())
    assert score["held_out_nats"] != result["figures"]["held_out_nats"]
    (path / "best.safetensors").unlink()
    with pytest.raises(UserError, match="best.safetensors: No such file"):
        main(["sample", str(path), "--best"])


def test_a_run_starts_from_other_weights(tiny, finished, text, tmp_path):
    given = shutil.copytree(finished, tmp_path / "given")
    config = dataclasses.replace(tiny, weights=given, stop_after=10)
    session = Session(config.out, TASK, config, TASK.load(config))
    assert equal(session.learner.params, folder.trained(finished)[2])
    path = start(config)
    assert log(path)[0]["loss"] < log(finished)[-1]["loss"]
    shutil.rmtree(given)
    assert resume(path) == 0
    assert newest(path)[1] == 40 and folder.read(path).options.weights == given


def test_a_run_begins_again_only_from_the_same_weights(tiny, finished, tmp_path):
    given = shutil.copytree(finished, tmp_path / "given")
    path = start(dataclasses.replace(tiny, weights=given, stop_after=10))
    shutil.rmtree(path / "checkpoints")
    run, _, params = folder.trained(finished)
    folder.save_weights(given, jax.tree.map(lambda leaf: 2 * leaf, params), 0, run.data)
    with pytest.raises(UserError, match=f"{given} has changed since {path} started"):
        resume(path)
    shutil.copy(finished / "weights.safetensors", given)
    assert resume(path, stop_after=20) == 0


def test_weights_of_another_model_are_refused_with_the_differences(
    tiny, finished, tmp_path
):
    def refused(weights, **changes):
        config = dataclasses.replace(tiny, weights=weights, **changes)
        with pytest.raises(UserError) as caught:
            train.run(TASK, config)
        assert not tiny.out.exists() and "\n" not in str(caught.value)
        return str(caught.value)

    assert "1.w_x is [3, 20] and must be [3, 24]" in refused(finished, hidden_size=6)
    assert "the cell is lstm and must be gru" in refused(finished, cell="gru")
    assert "is missing" in refused(finished, layers=2)
    other = tmp_path / "other.txt"
    other.write_text(TEXT.replace("q", "Q"))
    wrong = refused(finished, text=other)
    assert "the vocabularies have 30 and 30 tokens, of which" in wrong
    for name in ("none.safetensors", "none"):
        assert f"{name}: No such file" in refused(tmp_path / name)
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"junk")
    assert "junk.safetensors" in refused(junk)


def test_exported_weights_are_a_file_to_start_from(tiny, finished, tmp_path):
    file = tmp_path / "weights.safetensors"
    words = ["export", str(finished), "--format", "safetensors", "--out", str(file)]
    assert main(words) == 0
    config = dataclasses.replace(tiny, weights=file)
    session = Session(config.out, TASK, config, TASK.load(config))
    wanted = named_arrays.flatten(folder.trained(finished)[2])
    for name, leaf in named_arrays.flatten(session.learner.params).items():
        np.testing.assert_array_equal(leaf, wanted[name])


def test_a_text_is_scored_with_the_vocabulary_of_the_model(finished, tmp_path, capsys):
    run = folder.read(finished)
    border = run.data.facts["train"] - 1
    file = tmp_path / "same.txt"
    file.write_text(TEXT[border:])
    assert main(["eval", str(finished), "--text", str(file)]) == 0
    score = json.loads(capsys.readouterr().out.splitlines()[-1])
    result = json.loads((finished / "result.json").read_text())
    assert score == pytest.approx(result["figures"], rel=1e-6)
    file.write_text("x")
    with pytest.raises(UserError, match="has only 1 characters, but at least 2"):
        main(["eval", str(finished), "--text", str(file)])


def test_several_samples_and_a_prime_from_a_file(finished, tmp_path, capsys):
    file = tmp_path / "prime.txt"
    file.write_text("The lazy ")
    words = ["sample", str(finished), "--prime-file", str(file), "--length", "20"]
    assert main([*words, "--count", "2", "--seed", "4"]) == 0
    shown = capsys.readouterr().out
    _, one, other = shown.split("=== seed ")
    assert one.startswith("4\nThe lazy ") and other.startswith("5\nThe lazy ")
    assert one[2:] != other[2:]
    assert main([*words, "--seed", "5"]) == 0
    assert capsys.readouterr().out == other[2:]
    omega = ["sample", str(finished), "--prime", "The Ω"]
    assert main([*omega, "--length", "20", "--count", "2"]) == 0
    assert capsys.readouterr().err.count("not in the vocabulary") == 1
    with pytest.raises(UserError, match="--prime and --prime-file cannot be combined"):
        main([*words, "--prime", "The"])
    with pytest.raises(UserError, match="--count must be at least 1"):
        main([*words, "--count", "0"])
    with pytest.raises(UserError, match="--top-p must be at most 1, got 2"):
        main([*words, "--top-p", "2"])
    with pytest.raises(UserError, match="--top-p must be positive, got 0"):
        main([*words, "--top-p", "0"])
    file.write_text("")
    with pytest.raises(UserError, match="--prime must have at least one"):
        main(words)
    with pytest.raises(UserError, match="cannot read .*none"):
        main(["sample", str(finished), "--prime-file", str(tmp_path / "none")])
