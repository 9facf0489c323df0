"""Dates: what is written, what is held out, and where the attention looks."""

import datetime
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import tasks
from experiments.tasks import dates
from jrnn.text import Vocabulary

pytest.importorskip("babel")
TASK = tasks.find("dates")
OPTIONS = TASK.options(
    examples=300, held_out=40, embedding_size=3, hidden_size=6, batch_size=4
)


@pytest.fixture(scope="module")
def data():
    return TASK.load(OPTIONS)


@pytest.fixture(scope="module")
def model(data):
    return TASK.model(OPTIONS, data.saved)


@pytest.fixture(scope="module")
def params(model):
    return jax.jit(functools.partial(TASK.init, model))(jax.random.key(0))


def test_days_that_are_scored_are_not_in_training():
    data = TASK.load(TASK.options(examples=3000, held_out=500))
    train, held_out = (
        {tuple(row) for row in arrays["target"].tolist()}
        for arrays in (data.arrays, data.held_out)
    )
    assert len(train) > 2500 and len(held_out) > 450 and not train & held_out


def test_a_text_stands_for_one_day_in_all_languages_and_formats():
    from babel.dates import format_date  # noqa: PLC0415  optional

    meant: dict[str, datetime.date] = {}
    for year in (1969, 2012, 2020, 2068):
        for month in range(1, 13):
            for day in (1, 2, 10, 12, 20):
                date = datetime.date(year, month, day)
                for how in dates.FORMATS:
                    for where in dates.LOCALES:
                        text = format_date(date, how, locale=where)
                        assert meant.setdefault(text, date) == date, text


def test_the_baseline_reads_numbers_alone():
    for text, date in [
        ("2024. 04. 03.", "2024-04-03"),
        ("2024年12月3日", "2024-12-03"),
        ("24/12/95", "1995-12-24"),
        ("3.4.68", "2068-04-03"),
        ("vie, 29 abr 2050", "2050-01-29"),
    ]:
        assert dates.by_numbers(text) == date


def test_the_year_of_a_text_is_where_it_says(data):
    texts = Vocabulary.from_json(data.saved["vocabulary"])
    arrays, seen = data.held_out, 0
    for source, target, year in zip(
        arrays["source"], arrays["target"], arrays["year"], strict=True
    ):
        digits = "".join(dates.SYMBOLS[i] for i in target[:4])
        found = texts.decode(source[year : year + 4]) if year >= 0 else ""
        assert found == digits if year >= 0 else digits not in texts.decode(source)
        seen += year >= 0
    assert 0 < seen < len(arrays["year"])


def test_the_weights_are_those_with_which_the_model_answers(data, model, params):
    batch = jax.tree.map(lambda a: jnp.asarray(a[:5]), data.held_out)
    source, lengths, target = batch["source"], batch["lengths"], batch["target"]
    weights = np.asarray(dates.look(model, params, source, lengths, target), np.float64)
    for row, length in enumerate(lengths.tolist()):
        np.testing.assert_allclose(weights[row, :, :length].sum(-1), 1, rtol=1e-5)
        assert not weights[row, :, length:].any()
    _, memory = model.encoder.apply(params.encoder, None, source, lengths=lengths)
    decoder, state = model.encode(params, source, lengths=lengths)
    given = jnp.pad(target[:, :-1], ((0, 0), (1, 0)))
    _, vectors = model.decoder.layers[0].apply(decoder[0], (), given)
    _, queries = model.decoder.layers[1].apply(decoder[1], state[1], vectors)
    attention, dense = jax.tree.map(np.float64, (decoder[2], decoder[3]))
    joined = np.concatenate([queries, weights @ np.float64(memory)], axis=-1)
    logits = np.tanh(joined @ attention.w + attention.b) @ dense.w + dense.b
    expected = model.apply(params, source, target, lengths=lengths)
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_years_are_aligned_where_the_largest_weights_are(data, model, params):
    held_out, right, aligned = data.held_out, [], []
    program, shapes = TASK.program(model, params, data.saved, 1, 9)
    assert [shape.shape for shape in shapes] == [(1, 9), (1,)]
    for row in range(len(held_out["year"])):
        source, lengths, target, year = (
            held_out[name][row : row + 1]
            for name in ("source", "lengths", "target", "year")
        )
        answer = model.generate(params, source, dates.WIDTH, lengths=lengths)
        np.testing.assert_array_equal(program(source, lengths), answer)
        right.append(bool(np.all(answer == target)))
        weights = dates.look(model, params, jnp.asarray(source), lengths, answer)[0]
        if year[0] >= 0:
            places = np.argmax(np.asarray(weights), axis=-1)[:4]
            aligned += [year[0] <= place < year[0] + 4 for place in places]
    score = TASK.score(OPTIONS, model, params, data, lambda fraction: None)
    assert score.figures["exact"] == pytest.approx(np.mean(right))
    assert score.figures["year_aligned"] == pytest.approx(np.mean(aligned))
    assert 0 < np.mean(aligned) < 1


def test_a_picture_has_a_row_for_each_symbol(data, model, params):
    found = TASK.alignments(OPTIONS, model, params, data)
    assert len(found) == len(data.saved["examples"])
    for one, (text, _) in zip(found, data.saved["examples"], strict=True):
        assert "".join(one.source) == text and len(one.target) == dates.WIDTH
        assert one.weights.shape == (dates.WIDTH, len(text))
    shown = TASK.show(model, params, data.saved, seed=0, short=False)
    assert all(text in shown for text, _ in data.saved["examples"])
    rows = np.array([[0.0, 0.5, 1.0]])
    one = dates.Alignment(list("abc"), ["7"], rows, "weights")
    assert dates._picture(one) == "   abc\n 7  =@"
