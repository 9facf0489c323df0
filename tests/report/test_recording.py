"""What training records for the report, and what tasks return for it."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from experiments.run import folder, train
from experiments.run.options import Options
from experiments.tasks import names, sunspots, views
from experiments.tasks.char_lm import TASK, CharOptions
from experiments.tasks.language import LanguageModel
from jrnn.text import Vocabulary
from tests.experiments.tiny import tiny

SIZE, SYMBOLS = 5, 7
TEXT = "one (two) three, two one. " * 60


def small_model(both=False):
    """Returns a character model and its parameters, none of which is zero."""
    layer = jrnn.Recurrent(jrnn.Elman(SIZE))
    layer = jrnn.Bidirectional(layer) if both else layer
    model = jrnn.Sequential(jrnn.Embed(SYMBOLS, 3), layer, jrnn.Dense(SYMBOLS))
    params = model.init(jax.random.key(0))
    return model, jax.tree.map(lambda a: a + 0.1, params)


def numpy_loss(params, vectors, answer, state, after):
    """The loss `after` steps before the end, in float64, from the equations."""
    _, layer, dense = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    size = len(vectors) - after
    both = layer if hasattr(layer, "forward") else [layer]
    sides = [vectors[:size], vectors[size - 1 :][::-1]]
    ends = []
    for cell, side in zip(both, sides, strict=False):
        h = state
        for x in side:
            h = np.tanh(x @ cell.w_x + h @ cell.w_h + cell.b_x)
        ends.append(h)
    logits = np.concatenate(ends) @ dense.w + dense.b
    return np.log(np.sum(np.exp(logits))) - logits[answer]


@pytest.mark.parametrize("kind", ["alone", "from a state", "both directions"])
def test_gradient_by_lag_is_that_of_differences(kind):
    both = kind == "both directions"
    model, params = small_model(both)
    inputs = np.array([[1, 4, 2, 6, 3, 5], [0, 5, 3, 3, 1, 2]])
    answers, after, more = np.array([2, 6]), 2 if both else 0, {}
    states = np.zeros((2, SIZE))
    if kind == "from a state":
        states = np.linspace(-0.9, 0.8, 2 * SIZE).reshape(2, SIZE)
        start = model.initial_state(params, (2,))
        more["state"] = jax.tree.map(lambda a: jnp.asarray(states, a.dtype), start)
    found = views.by_lag(model, params, inputs, answers, after=after, **more)
    table, epsilon = np.asarray(params[0].table, np.float64), 1e-5
    norms = np.zeros((2, 6 - after))
    for row, lag in np.ndindex(norms.shape):
        vectors, slope = table[inputs[row]], np.zeros(3)
        for feature in range(3):
            moved = [vectors.copy(), vectors.copy()]
            for sign, one in zip((1, -1), moved, strict=True):
                one[-1 - after - lag, feature] += sign * epsilon
            given = answers[row], states[row], after
            up, down = (numpy_loss(params, v, *given) for v in moved)
            slope[feature] = (up - down) / (2 * epsilon)
        norms[row, lag] = np.linalg.norm(slope)
    np.testing.assert_allclose(found, norms.mean(axis=0), rtol=1e-3)


@pytest.mark.parametrize("name", ["names", "code_tags", "sunspots"])
def test_a_task_says_how_its_gradient_depends_on_the_lag(name, tmp_path):
    task, options = tiny(name, tmp_path)
    data = task.load(options)
    if name == "code_tags":  # as long as the windows need
        data = data._replace(held_out=np.tile(data.held_out, 20))
    model = task.model(options, data.saved)
    params = task.init(model, jax.random.key(0))
    params = jax.tree.map(lambda a: a + 0.1, params)
    found = task.gradient_by_lag(options, model, params, data)
    lags = {"code_tags": views.LAGS, "sunspots": 15}
    if name == "names":  # fewer names than rows: the shortest one counts
        lags[name] = int(min(data.held_out["lengths"]))
    assert found.shape == (lags[name],)
    assert np.all(np.isfinite(found)) and found[0] > found[-1] > 0
    if name == "sunspots":  # the loss of each row, from the guesses of the task
        series = data.held_out["series"]

        def loss(xs, year):
            guesses = sunspots.predict(model, params, xs[None], None)
            return (guesses[0, -1] - year) ** 2

        rows = [series[n - 16 : n] for n in range(len(series) - 15, len(series) + 1)]
        slopes = [jax.grad(loss)(jnp.asarray(row[:-1]), row[-1]) for row in rows]
        expected = np.mean(np.abs(slopes), axis=0)[::-1]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_a_reading_is_the_model_and_its_layers(tied):
    words = Vocabulary.build("abcde", specials=("<unk>", "<eos>"))
    model, params = small_model()
    if tied:
        body = jrnn.Stack(jrnn.GRU(4), jrnn.Elman(3), dropout=0.5)
        model = jrnn.Tied(jrnn.Embed(SYMBOLS, 3), jrnn.Sequential(body))
        params = jax.tree.map(lambda a: a + 0.1, model.init(jax.random.key(1)))
    ids = np.array([2, 5, 3, 3, 6, 4])
    read = views.reading(model, params, ids, words)
    _, logits = model.apply(params, None, jnp.asarray(ids[None]))
    np.testing.assert_allclose(read.logits, logits[0, :-1], rtol=1e-5)
    assert read.tokens == [*"dbbec"] and read.answers.tolist() == ids[1:].tolist()
    if not tied:
        vectors = params[0].table[ids]
        _, ys = jrnn.scan(model.layers[1].cell, params[1], None, vectors)
        np.testing.assert_allclose(read.layers["layer 1"], ys[1:], rtol=1e-5)
    else:
        assert {name: ys.shape for name, ys in read.layers.items()} == {
            "layer 1": (5, 4),
            "layer 2": (5, 3),
        }


def test_names_are_read_as_they_are_scored(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("Anna\nBob\nCyd\nDan\nEva\n")
    options = names.NamesOptions(text=file, hidden_size=4, held_out=2)
    task, data = names.TASK, names.TASK.load(options)
    model = task.model(options, data.saved)
    params = model.init(jax.random.key(0))
    read = task.reading(options, model, params, data)
    score = task.score(options, model, params, data, lambda done: None)
    every = jax.nn.log_softmax(read.logits)[np.arange(len(read.tokens)), read.answers]
    assert -np.mean(every) == pytest.approx(score.figures["held_out_nats"], rel=1e-5)
    assert read.tokens.count("<eos>") == 2 and read.layers["layer 1"].shape[1] == 4


def rows(path, name):
    return [json.loads(line) for line in (path / name).read_text().splitlines()]


def test_samples_and_gradients_are_recorded_and_trimmed(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    options = CharOptions(
        text=file,
        steps=40,
        stop_after=30,
        out=tmp_path / "run",
        hidden_size=5,
        embedding_size=3,
        batch_size=4,
        chunk=7,
        samples=3,
        devices="1",
    )
    train.run(TASK, options)
    path = options.out
    assert [row["step"] for row in rows(path, "gradients.jsonl")] == [0, 10, 20, 30]
    assert len(rows(path, "gradients.jsonl")[0]["norms"]) == views.LAGS
    taken = rows(path, "samples.jsonl")
    assert [row["step"] for row in taken] == [10, 20, 30]
    assert taken[0]["text"] and taken[0]["figures"]["held_out_nats"] > 0
    with open(path / "samples.jsonl", "a") as stream:
        stream.write(json.dumps(taken[0] | {"step": 35}) + "\n{half")
    folder.trim_records(path, 30)
    assert rows(path, "samples.jsonl") == taken
    resumed = dataclasses.replace(options, resume=path, out=None, stop_after=None)
    train.run(TASK, resumed, folder.read(path).options)
    assert [row["step"] for row in rows(path, "gradients.jsonl")][-1] == 40
    assert [row["step"] for row in rows(path, "samples.jsonl")][-1] == 40


def test_a_task_needs_none_of_it():
    default = super(LanguageModel, TASK)
    given = (Options(), None, None, None)
    assert default.gradient_by_lag(*given) is default.reading(*given) is None
    assert default.generator(*given) is None and default.alignments(*given) == []
