"""The text of the character model: any characters, and every way to be unusable."""

import codecs
import dataclasses
import math
import os

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from experiments import tokens
from experiments.errors import UserError
from experiments.run import terminal
from experiments.run.session import Standing
from experiments.tasks import corpus
from experiments.tasks.char_lm import TASK, CharOptions as Train
from experiments.tasks.parts import times
from jrnn.text import UNK, Vocabulary, write_tokens
from tests.experiments import runs
from tests.experiments.runs import TEXT

ODD = "a\r\nb\x00 \ufeffe\u0301 \U0001f40d \u202e"


@hypothesis.settings(derandomize=True, deadline=None, max_examples=50)
@hypothesis.given(
    strategies.integers(0, 2**31 - 1),
    strategies.integers(1, 2**20),
    strategies.integers(1, 2**31 - 1),
)
def test_a_place_in_the_text_does_not_overflow(step, factor, modulus):
    expected = step * factor % modulus
    assert int(times(jnp.int32(step), factor, modulus)) == expected


def test_a_file_is_read_as_it_is(tmp_path):
    file = tmp_path / "odd.txt"
    file.write_bytes(ODD.encode())
    assert corpus.read_text(file) == (str(file), ODD)


def test_the_vocabulary_comes_from_the_training_part_alone(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("ab" * 45 + "abcdefghij")
    data = TASK.load(Train(text=file, batch_size=1, chunk=4))
    assert Vocabulary.from_json(data.saved["vocabulary"]).tokens == ("a", "b")
    assert data.held_out.tolist() == [1, 2] + 8 * [0]
    np.testing.assert_array_equal(data.arrays, 45 * [1, 2])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (codecs.BOM_UTF16_LE + "ab".encode("utf-16-le"), "is UTF-16LE, not UTF-8"),
        (codecs.BOM_UTF16_BE + "ab".encode("utf-16-be"), "iconv -f UTF-16BE"),
        (codecs.BOM_UTF32_LE + "ab".encode("utf-32-le"), "is UTF-32LE"),
    ],
)
def test_another_encoding_is_named(tmp_path, data, message):
    file = tmp_path / "wide.txt"
    file.write_bytes(data)
    with pytest.raises(UserError, match=message):
        corpus.read_text(file)


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path):
    file = tmp_path / "marked.txt"
    file.write_bytes(codecs.BOM_UTF8 + ODD.encode())
    assert corpus.read_text(file)[1] == ODD


def test_the_default_text_is_there():
    name, text = corpus.read_text(None)
    assert "pydoc_data" in name and len(text) > 300_000


def test_bad_utf8_is_an_error_with_its_offset(tmp_path):
    file = tmp_path / "latin.txt"
    file.write_bytes("grün".encode("latin-1"))
    with pytest.raises(
        UserError, match=r"latin\.txt is not UTF-8: byte 0xfc at offset 2"
    ):
        corpus.read_text(file)


def test_a_missing_file_is_an_error_with_its_name(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.txt: No such file"):
        corpus.read_text(tmp_path / "none.txt")


@pytest.mark.parametrize(("size", "left"), [(0, 0), (1, 0), (71, 64)])
def test_a_text_that_fills_no_batch_is_an_error(tmp_path, size, left):
    file = tmp_path / "short.txt"
    file.write_text("x" * size)
    needed = rf"{left} characters .* needs 65 \(8"
    with pytest.raises(UserError, match=rf"short.txt is too short: .*{needed}"):
        TASK.load(Train(text=file, batch_size=8, chunk=8))


def test_a_text_that_fills_one_batch_is_enough(tmp_path):
    file = tmp_path / "enough.txt"
    file.write_text("x" * 72)
    assert len(TASK.load(Train(text=file, batch_size=8, chunk=8)).arrays) == 65


def test_wrong_options_are_listed_together():
    config = Train(hidden_size=0, clip=-1.0, dropout=1.0, devices="two", minutes=0)
    with pytest.raises(UserError) as caught:
        config.check()
    for flag in ("--hidden-size", "--clip", "--dropout", "--devices", "--minutes"):
        assert flag in str(caught.value)


def test_options_survive_the_round_trip(tmp_path):
    config = Train(text=tmp_path / "a.txt", steps=7, cell="gru", stop_after=3)
    again = Train.from_json(config.to_json())
    assert again == Train(text=tmp_path / "a.txt", steps=7, cell="gru")


@pytest.mark.parametrize(
    "change",
    [
        {"cell": 3},
        {"steps": True},
        {"unheard_of": 1},
        {"hidden_size": "4"},
        {"clip": 0},
    ],
    ids=str,
)
def test_a_damaged_configuration_is_refused(change):
    with pytest.raises(UserError, match=next(iter(change)).replace("_", "[_-]")):
        Train.from_json(Train().to_json() | change)


def test_a_resumed_run_names_every_option_that_it_cannot_change():
    new = Train(hidden_size=8, batch_size=4, clip=2.0, steps=9, devices="1")
    with pytest.raises(UserError) as caught:
        Train().changes(new)
    assert "--hidden-size was 256 and is now 8" in str(caught.value)
    assert "--batch-size was 32 and is now 4" in str(caught.value)
    assert "--clip" not in str(caught.value) and "--steps" not in str(caught.value)


def test_a_resumed_run_warns_of_what_it_may_change():
    assert Train().changes(Train(steps=9, samples=1)) == []
    (warning,) = Train().changes(Train(clip=2.0))
    assert "--clip was 1.0 and is now 2.0" in warning


def test_skipped_updates_do_not_spoil_the_averages_of_the_bar(capsys):
    good = Standing(10, 0.1, 9.0, 2.0, 0.5, 0.0, 0, 100, 1.0)
    nan = math.nan
    bad = good._replace(step=20, done=0.2, loss=nan, norm=nan, clipped=nan)
    bar = terminal.Bar(0.0, "nats")
    for standing in (good, bad):
        bar.show(standing)
    bar.close()
    *_, last = capsys.readouterr().out.splitlines()
    assert "step 20" in last and "loss 2.000" in last and "nan" not in last


def test_a_model_cannot_steer_the_terminal():
    assert terminal.lines("a\x1b[2J\tb\u202e\n", 40) == ["a\ufffd[2J    b\ufffd", ""]


def test_a_token_file_trains_as_the_text_does(tiny, tmp_path, capsys):
    text, made = tmp_path / "fox.txt", tmp_path / "fox.txt.tokens"
    text.write_text("\n" + TEXT)  # all characters occur in the training text
    assert tokens.main("tokens", [str(text)]) == 0
    assert f"{len(TEXT) + 1:,}" in capsys.readouterr().out
    config = dataclasses.replace(tiny, text=made, steps=23)
    streamed = runs.start(dataclasses.replace(config, out=tmp_path / "a"))
    plain = runs.start(dataclasses.replace(config, text=text, out=tmp_path / "b"))
    assert runs.newest(streamed) == runs.newest(plain)
    assert runs.log(streamed) == runs.log(plain)
    part = runs.start(dataclasses.replace(config, out=tmp_path / "c", stop_after=13))
    assert runs.resume(part, stop_after=None) == 0
    assert runs.newest(part) == runs.newest(plain)


def test_a_token_file_that_was_changed_or_removed_is_refused(tiny, text, tmp_path):
    made = tmp_path / "fox.tokens"
    tokens.main("tokens", [str(text), "--out", str(made)])
    config = dataclasses.replace(tiny, text=made)
    data = bytearray(made.read_bytes())
    data[-50] ^= 1
    made.write_bytes(data)
    with pytest.raises(UserError, match="does not match its hash"):
        TASK.load(config)
    made.unlink()
    with pytest.raises(UserError, match=r"cannot read .*fox\.tokens: No such file"):
        TASK.load(config)
    write_tokens(made, ["a b"], Vocabulary.build("a b", "words", specials=(UNK,)), 2)
    with pytest.raises(UserError, match="unit 'words', but this task needs 'char"):
        TASK.load(config)


def test_a_token_file_that_is_truncated_during_training_is_told(tiny, text, tmp_path):
    made = tmp_path / "fox.tokens"
    tokens.main("tokens", [str(text), "--out", str(made)])
    stream = TASK.load(dataclasses.replace(tiny, text=made)).arrays
    os.truncate(made, 300)
    with pytest.raises(UserError, match=r"fox\.tokens.* stopped at step 70"):
        stream.batches(tiny, 70, 10)


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (b"ab\xff", [], r"not UTF-8: byte 0xff at offset 2"),
        (b"ab", ["--out", "a.txt"], r"must end with \.tokens"),
        (b"ab", ["--limit", "0"], "limit must be"),
        (b"", [], r"text\.txt is empty"),
        (b"\xef\xbb\xbf", [], r"text\.txt is empty"),
    ],
)
def test_a_text_without_tokens_is_told(tmp_path, content, words, message):
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        tokens.main("tokens", [str(file), *words])
    with pytest.raises(UserError, match="No such file"):
        tokens.main("tokens", [str(tmp_path / "none.txt")])


def test_a_text_is_never_overwritten_by_its_tokens(tmp_path):
    file, link = tmp_path / "text.tokens", tmp_path / "link.tokens"
    file.write_text("ab")
    link.symlink_to(file)
    for out in (file, link):
        with pytest.raises(UserError, match="is the text itself"):
            tokens.main("tokens", [str(file), "--out", str(out)])
    assert file.read_text() == "ab"


def test_a_row_begins_anew_where_the_batch_says(tiny):
    data = TASK.load(tiny)
    model = TASK.model(tiny, data.saved)
    params = TASK.init(model, jax.random.key(0))
    rows = jnp.arange(tiny.batch_size)
    batch = jax.jit(lambda n: TASK.batch(tiny, jnp.asarray(data.arrays), n, rows))
    batches = [batch(jnp.int32(n)) for n in range(80)]
    fresh = np.stack([batch[2] for batch in batches])
    assert fresh.sum(axis=0).tolist() == [2] * len(rows)  # once in 40 updates
    old = jax.tree.map(
        lambda leaf: leaf + 0.7, model.initial_state(params, (len(rows),))
    )
    inputs, targets, _ = batches[0]
    for begins in (rows < 0, rows == 2, rows >= 0):
        loss, _ = TASK.loss(model, params, old, (inputs, targets, begins), None)
        both = [model.apply(params, state, inputs)[1] for state in (None, old)]
        chosen = jnp.where(begins[:, None, None], *both)
        nats = -jax.nn.log_softmax(chosen)
        expected = jnp.mean(jnp.take_along_axis(nats, targets[..., None], -1))
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)
