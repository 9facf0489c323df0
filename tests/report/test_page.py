"""The data and the files of the report, without a browser."""

import base64
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from experiments.__main__ import main
from experiments.errors import UserError
from experiments.report import (
    curves,
    features,
    operations,
    page,
    program,
    reading,
    records,
    sampler_page,
)
from experiments.run.task import Reading
from experiments.tasks import views
from tests.report.conftest import HTML


@pytest.fixture(scope="module")
def text(runs):
    return page.report([records.read(path) for path in runs])


def content(text):
    """Returns the data in a page."""
    found = re.findall(r'<script type="application/json".*?>(.*?)</script>', text)
    assert len(found) == 1
    return json.loads(found[0])


def test_a_page_loads_nothing_and_escapes_what_a_run_says(text):
    policy = re.search(r'Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src 'none'") and "http" not in policy
    bokeh = [part.strip() for part in page._bokeh()]
    own = text
    for part in bokeh:
        own = own.replace(page._script(part), "").replace(part, "")
    assert len(own) < len(text) - 1_000_000
    assert not re.findall(r"<\w[^>]*(?:src|href)=(?![\"']?data:)", own)
    assert not re.findall(r"https?://", own) and "@import" not in own
    assert "<script>window.boom" not in text and "<b>one" not in text
    first, second = content(text)["runs"]
    assert HTML in "".join(first["reading"]["tokens"]) and second["words"] == HTML


def test_a_page_says_how_the_run_is_repeated(text, runs):
    found = content(text)
    first = found["runs"][0]
    result = json.loads((runs[0] / "result.json").read_text())
    assert first["words"] == result["words"] and "30 updates in" in first["trained"]
    assert first["command"].startswith("python -m experiments train char_lm")
    for part in ("--steps 30", "--hidden-size 6", "--layers 2", "--clip 0.05"):
        assert part in first["command"]
    (group,) = found["groups"]
    assert "--grid seed=0,1" in group["command"]
    assert group["figures"]["held_out_nats"] == [result["figures"]["held_out_nats"]] * 2
    assert [row["step"] for row in first["samples"]] == [10, 20, 30]
    assert [row["step"] for row in first["gradients"]] == [0, 10, 20, 30]


def test_seeds_are_a_band(text, runs):
    (curve,) = content(text)["curves"]
    assert curve["seeds"] == [0, 1] and curve["x"] == [10, 20, 30]
    loss = {part: np.array(values) for part, values in curve["loss"].items()}
    np.testing.assert_allclose(loss["high"] - loss["low"], 0.5, atol=2e-3)
    np.testing.assert_allclose(loss["mean"] - loss["low"], 0.25, atol=2e-3)
    assert max(curve["clipped"]["high"]) == 1.0  # clipped at 0.05
    rows = [row["figures"]["held_out_nats"] for row in records.read(runs[0]).samples]
    assert curve["held_out"] == [[10 * n + 10, loss] for n, loss in enumerate(rows)]


def test_averages_over_bins_are_those_of_numpy():
    rng = np.random.default_rng(0)
    steps, losses = np.arange(10, 210, 10), rng.normal(size=20)
    rows = [{"step": int(s), "loss": x} for s, x in zip(steps, losses, strict=True)]
    rows[3]["loss"] = None  # all of its updates were skipped
    edges = np.array([0.0, 45, 100, 101, 200])
    found = curves.averages(rows, "loss", edges)
    expected = [losses[:3].mean(), losses[4:10].mean(), np.nan, losses[10:].mean()]
    np.testing.assert_allclose(found, expected)


def test_groups_are_named_by_what_differs(runs, tmp_path):
    third = tmp_path / "third"
    shutil.copytree(runs[0], third)
    config = json.loads((third / "config.json").read_text())
    config["options"] |= {"learning_rate": 0.1}
    (third / "config.json").write_text(json.dumps(config))
    kinds = curves.groups([records.read(path) for path in (*runs, third)])
    assert [len(kind) for kind in kinds] == [2, 1]
    assert curves.names(kinds) == ["learning_rate=0.004", "learning_rate=0.1"]


def test_surprise_alternatives_and_units():
    rng = np.random.default_rng(1)
    tokens = [*'A "b" (cd)\n' * 40]
    symbols = sorted(set(tokens))
    answers = np.array([symbols.index(token) for token in tokens])
    logits = rng.normal(size=(len(tokens), len(symbols)))
    ys = rng.normal(size=(len(tokens), 7))
    upper = np.array([token == "A" for token in tokens], float)
    ys[:, 4] = 0.1 * ys[:, 4] - 2 * upper
    read = Reading(tokens, jnp.array(logits), jnp.array(answers), symbols, {"l": ys})
    found = reading.content(read)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    nats = -np.log(p[np.arange(len(tokens)), answers])
    assert found["mean"] == pytest.approx(nats.mean(), rel=1e-5)
    assert found["answers"] is None and found["tokens"] == tokens
    np.testing.assert_allclose(found["nats"], nats, atol=1e-3)
    best = [[found["symbols"][i] for i in row] for row in found["best"]]
    order = np.argsort(-p, axis=1)[:, :5]
    assert best == [[symbols[i] for i in row] for row in order]
    np.testing.assert_allclose(found["chances"], np.sort(p)[:, :-6:-1], atol=1e-4)
    units = found["units"]
    assert units["labels"][0] == "l, unit 4"
    k = units["features"].index("upper case")
    expected = np.corrcoef(ys[:, 4], upper)[0, 1]
    assert units["r"][0][k] == pytest.approx(expected, abs=1e-3) and expected < -0.9
    raw = np.frombuffer(base64.b64decode(units["activations"]), np.int8)
    shown = raw.reshape(7, -1)[0] / 127 * units["peaks"][0]
    np.testing.assert_allclose(shown, ys[:, 4], atol=0.02)


def test_a_long_text_begins_with_a_line():
    tokens = [*"a line\n" * 300]
    zeros = jnp.zeros((len(tokens), 2))
    read = Reading(tokens, zeros, zeros[:, 0].astype(int), ["a", "b"], {})
    found = reading.content(read)
    assert len(found["tokens"]) == reading.SHOWN and found["units"] is None
    assert "".join(found["tokens"]).startswith("a line\na")
    assert found["answers"] == ["a"] * reading.SHOWN  # labels, not the tokens


def test_features_follow_quotes_brackets_and_lines():
    found = features.features([*'ab "c(d" e)\n  f'])
    assert found["inside quotes"].tolist() == [0] * 3 + [1] * 4 + [0] * 8
    assert found["inside brackets"].tolist() == [0] * 5 + [1] * 5 + [0] * 5
    assert found["position in line"].tolist() == [*range(1, 12), 0, 1, 2, 3]
    assert found["indentation"].tolist() == [0] * 12 + [1, 2, 2]
    assert "upper case" not in found  # it is the same for all tokens


def test_dependence_is_that_of_differences():
    embed = jrnn.Embed(7, 3)
    model = jrnn.EncoderDecoder(
        jrnn.Sequential(embed, jrnn.Recurrent(jrnn.GRU(4))),
        jrnn.Sequential(jrnn.Embed(6, 3), jrnn.Recurrent(jrnn.GRU(4)), jrnn.Dense(6)),
    )
    params = jax.tree.map(lambda a: a + 0.1, model.init(jax.random.key(0)))
    source, target = jnp.array([[5, 2, 3, 0]]), jnp.array([[1, 4]])
    lengths = jnp.array([3])
    found = views.dependence(model, params, source, target, lengths)[0]

    @jax.jit
    def log_p(table):
        first = params.encoder[0]._replace(table=table)
        changed = params._replace(encoder=(first, *params.encoder[1:]))
        logits = model.apply(changed, source, target, lengths=lengths)[0]
        return jax.nn.log_softmax(logits)[jnp.arange(2), target[0]]

    table, norms = np.asarray(params.encoder[0].table), np.zeros((2, 4))
    for place, row in enumerate([5, 2, 3, 0]):  # each symbol is in one place only
        slopes = np.zeros((2, 3))
        for feature in range(3):
            move = np.zeros_like(table)
            move[row, feature] = 1e-2
            slopes[:, feature] = (log_p(table + move) - log_p(table - move)) / 2e-2
        norms[:, place] = np.linalg.norm(slopes, axis=1)
    np.testing.assert_allclose(
        found, norms / norms.max(axis=1, keepdims=True), atol=2e-3
    )
    assert np.all(found[:, 3] == 0)  # padding


def test_large_weights_are_stored_in_half_precision(monkeypatch):
    weights = jnp.linspace(-2, 2, 60).reshape(6, 10)

    def step(state, token):
        state = jnp.tanh(state + weights[token % 6, :6])
        return state, state @ weights

    starts = {"": jnp.zeros(6)}
    whole, half = program.export(step, starts), program.export(step, starts, limit=99)
    closed = jax.make_jaxpr(step)(starts[""], jnp.int32(0))
    assert 1e-6 < program.drift(closed, starts[""]) < program.TOLERANCE
    monkeypatch.setattr(program, "TOLERANCE", 1e-6)
    assert program.export(step, starts, limit=99)["precision"] == "float32"
    assert (whole["precision"], half["precision"]) == ("float32", "float16")
    assert half["bytes"] < 0.7 * whole["bytes"]
    # The table is stored once, although the step reads it twice.
    shapes = [constant["shape"] for constant in whole["constants"]]
    assert shapes.count([6, 10]) == 1


def test_a_step_that_the_page_does_not_know_is_refused():
    def step(state, token):
        return state, jnp.sort(state + token)

    with pytest.raises(operations.UnknownOperationError, match="the operation sort"):
        program.export(step, {"": jnp.zeros(3)})


def test_the_command_writes_a_page_and_says_what_is_wrong(
    runs, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("experiments.run.devices.prepare", lambda devices: None)
    monkeypatch.setattr(page, "_bokeh", list)
    out = tmp_path / "page.html"
    assert main(["report", str(runs[0]), "--out", str(out)]) == 0
    assert content(out.read_text())["runs"][0]["name"] == "first"
    assert "page.html" in capsys.readouterr().out
    assert main(["report", str(runs[0].parent), "--out", str(out)]) == 0
    assert len(content(out.read_text())["runs"]) == 2
    with pytest.raises(UserError, match="contains no run: pass the folder of a run"):
        main(["report", str(tmp_path)])
    assert not (tmp_path / "report.html").exists()


def test_what_is_not_there_is_left_out(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_bokeh", list)
    early = tmp_path / "early"
    early.mkdir()
    shutil.copy(runs[0] / "config.json", early)
    (early / "metrics.jsonl").write_text('{"step": 10, "lo')  # killed while writing
    found = content(page.report([records.read(early)]))
    (one,) = found["runs"]
    assert one["notes"] == ["The run has not saved a model yet."]
    assert one["words"] == "not scored yet" and found["curves"][0]["x"] == []
    moved = tmp_path / "moved"
    shutil.copytree(runs[0], moved)
    config = json.loads((moved / "config.json").read_text())
    config["options"]["text"] = "/nowhere/text.txt"
    (moved / "config.json").write_text(json.dumps(config))
    (one,) = content(page.report([records.read(moved)]))["runs"]
    assert "Held-out data are missing" in one["notes"][0]
    assert one["generator"]["program"] and "reading" not in one


def test_the_sampler_has_a_page_of_its_own(runs):
    text = sampler_page(runs[0])
    assert len(text) < 100_000 and "Bokeh" not in text.split('id="content"')[1][:500]
    (run,) = content(text)["runs"]
    assert run["generator"]["unit"] == "characters"
