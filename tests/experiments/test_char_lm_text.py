"""The text of the character model: any characters, and every way to be unusable."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from experiments.char_lm import config as options, corpus, terminal
from experiments.char_lm.config import Train
from experiments.char_lm.corpus import Vocabulary
from experiments.char_lm.session import Standing
from experiments.errors import UserError

ODD = "a\r\nb\x00 \ufeffe\u0301 \U0001f40d \u202e"


@hypothesis.settings(derandomize=True, deadline=None, max_examples=50)
@hypothesis.given(strategies.text(min_size=1))
@hypothesis.example(ODD)
def test_text_survives_the_round_trip(text):
    vocabulary = corpus.find_vocabulary(text)
    symbols = vocabulary.encode(text)
    assert vocabulary.decode(symbols) == text
    assert len(symbols) == len(text) and symbols.min() >= 1
    assert symbols.max() < len(vocabulary) == len(set(text)) + 1


def test_a_file_is_read_as_it_is(tmp_path):
    file = tmp_path / "odd.txt"
    file.write_bytes(ODD.encode())
    assert corpus.read_text(file) == (str(file), ODD)


def test_unseen_characters_are_unknown_and_nothing_else():
    vocabulary = Vocabulary("bd")
    assert vocabulary.encode("abcde\udcff").tolist() == [0, 1, 0, 2, 0, 0]
    assert vocabulary.decode([0, 2]) == "\ufffdd"
    assert vocabulary.unknown("abcdea") == "ace"


def test_the_vocabulary_comes_from_the_training_part_alone():
    text = "ab" * 45 + "abcdefghij"
    data = corpus.split("text", text, batch_size=1, chunk=4)
    assert data.vocabulary.characters == "ab"
    assert data.held_out.tolist() == [1, 2] + 8 * [corpus.UNKNOWN_ID]
    np.testing.assert_array_equal(data.train, 45 * [1, 2])


def test_rare_characters_give_way_in_a_large_vocabulary():
    assert corpus.find_vocabulary("zzyyyxab", limit=2).characters == "yz"


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


@pytest.mark.parametrize("text", ["", "x", "x" * 71])
def test_a_text_that_fills_no_batch_is_an_error_with_both_sizes(text):
    with pytest.raises(UserError, match=rf"too short: {len(text)} characters.* 65 "):
        corpus.split("it", text, batch_size=8, chunk=8)


def test_a_text_that_fills_one_batch_is_enough():
    assert len(corpus.split("it", "x" * 72, batch_size=8, chunk=8).train) == 65


def test_wrong_options_are_listed_together():
    config = Train(hidden_size=0, clip=-1.0, dropout=1.0, devices="two", minutes=0)
    with pytest.raises(UserError) as caught:
        options.check(config)
    for flag in ("--hidden-size", "--clip", "--dropout", "--devices", "--minutes"):
        assert flag in str(caught.value)


def test_options_survive_the_round_trip(tmp_path):
    config = Train(text=tmp_path / "a.txt", steps=7, cell="gru", stop_after=3)
    again = options.from_json(options.to_json(config))
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
        options.from_json(options.to_json(Train()) | change)


def test_a_resumed_run_names_every_option_that_it_cannot_change():
    new = Train(hidden_size=8, batch_size=4, clip=2.0, steps=9, devices="1")
    with pytest.raises(UserError) as caught:
        options.refuse_changes(Train(), new)
    assert "--hidden-size was 256 and is now 8" in str(caught.value)
    assert "--batch-size was 32 and is now 4" in str(caught.value)
    assert "--clip" not in str(caught.value) and "--steps" not in str(caught.value)


def test_a_resumed_run_warns_of_what_it_may_change():
    assert options.refuse_changes(Train(), Train(steps=9, samples=1)) == []
    (warning,) = options.refuse_changes(Train(), Train(clip=2.0))
    assert "--clip was 1.0 and is now 2.0" in warning


def test_skipped_updates_do_not_spoil_the_averages_of_the_bar(capsys):
    good = Standing(10, 0.1, 9.0, 2.0, 2.9, 0.5, 0.0, 0, 100, 1.0)
    nan = math.nan
    bad = good._replace(step=20, done=0.2, loss=nan, bits=nan, norm=nan, clipped=nan)
    bar = terminal.Bar(0.0)
    for standing in (good, bad):
        bar.show(standing)
    bar.close()
    *_, last = capsys.readouterr().out.splitlines()
    assert "step 20" in last and "loss 2.000" in last and "nan" not in last


def test_a_model_cannot_steer_the_terminal():
    assert terminal.lines("a\x1b[2J\tb\u202e\n", 40) == ["a\ufffd[2J    b\ufffd", ""]
