"""Vocabularies restore every text exactly; word vectors are read strictly."""

import json

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies

import jrnn
from jrnn.text import (
    TokenFile,
    Vocabulary,
    embedding_table,
    join,
    read_vectors,
    split,
    write_tokens,
)

CAT = "The mouse, which the cat's kittens chased,\n\tdidn't  stop. "
ODD = "a\x00\r\n\u2028é\U0001f600\ud800<unk>\ufeff"
check = hypothesis.settings(derandomize=True, deadline=None, max_examples=100)


@check
@hypothesis.given(strategies.text(strategies.characters(exclude_categories=())))
@hypothesis.example(ODD)
@hypothesis.example(CAT)
@pytest.mark.parametrize("unit", ["characters", "bytes", "words"])
def test_any_text_is_restored(unit, text):
    assert join(split(text, unit), unit) == text
    if text or unit == "bytes":
        vocabulary = Vocabulary.build(text, unit)
        ids = vocabulary.encode(text, end=True)
        assert ids.dtype == np.int32
        assert vocabulary.decode(ids) == text
        assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
        assert 0 not in ids and ids[-1] == 1


@pytest.mark.parametrize("unit", ["characters", "words"])
def test_ids_and_counts_are_those_of_a_plain_loop(unit):
    vocabulary = Vocabulary.build([CAT, "the cat\n"], unit, limit=9)
    pieces = split(CAT, unit) + split("the cat\n", unit)
    counted = sorted(set(pieces), key=lambda p: (-pieces.count(p), p))[:9]
    assert vocabulary.tokens == tuple(sorted(counted))
    expected = [2 + vocabulary.tokens.index(p) if p in counted else 0 for p in pieces]
    ids = np.concatenate([vocabulary.encode(CAT), vocabulary.encode("the cat\n")])
    assert ids.tolist() == expected
    assert vocabulary.counts == (
        expected.count(0),
        2,
        *(pieces.count(token) for token in vocabulary.tokens),
    )


def test_words_keep_the_space_before_them():
    assert split("It's  a cat, isn't it?", "words") == [
        *("It's", " ", " a", " cat", ",", " isn't", " it", "?")
    ]


def test_rare_tokens_are_unknown_and_shown():
    vocabulary = Vocabulary.build("aab", min_count=2)
    assert vocabulary.encode("abz").tolist() == [2, 0, 0]
    assert vocabulary.decode([2, 0, 1]) == "a\N{REPLACEMENT CHARACTER}"
    assert vocabulary.unknown("abz") == ["b", "z"]
    assert vocabulary.id("b") == vocabulary.id("<unk>") == 0


def test_prepared_corpora_name_their_own_special_tokens():
    text = ["the", "<unk>", "sat", "<eos>", "the", "<eos>"]
    vocabulary = Vocabulary.build([text], "tokens")
    assert vocabulary.tokens == ("sat", "the")
    assert vocabulary.counts == (1, 2, 1, 2)
    assert vocabulary.encode(text).tolist() == [3, 0, 2, 1, 3, 1]
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.unknown([*text, "dog"]) == ["dog"]


@pytest.mark.parametrize("specials", [("<pad>", "<unk>"), ("<pad>",), ("<unk>",)])
def test_counts_are_how_often_each_id_occurs(specials, tmp_path):
    text = ["<pad>", "a", "b", "<pad>", "a"]
    vocabulary = Vocabulary.build([text], "tokens", specials=specials)
    ids = vocabulary.encode(text)
    found = np.bincount(ids, minlength=len(vocabulary)).tolist()
    assert list(vocabulary.counts) == found
    path = tmp_path / "text.tokens"
    write_tokens(path, [text], vocabulary, sum(vocabulary.counts))
    with TokenFile(path) as tokens:
        assert tokens[:].tolist() == ids.tolist()


def test_special_characters_of_a_text_are_ordinary():
    vocabulary = Vocabulary.build("<eos><unk>")
    ids = vocabulary.encode("<eos>")
    assert len(ids) == 5 and vocabulary.decode(ids) == "<eos>"


def test_bytes_that_are_not_utf8_are_replaced():
    vocabulary = Vocabulary.build("", "bytes", specials=())
    assert len(vocabulary) == 256
    assert vocabulary.decode([255, 97]) == "\N{REPLACEMENT CHARACTER}a"


def table_of(words, **options):
    vectors = np.full((len(words), 2), 0.5)
    vocabulary = Vocabulary.build("a")
    return embedding_table(jax.random.key(0), vocabulary, words, vectors, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Vocabulary.build("a", "letters"), ValueError, "one of"),
        (lambda: Vocabulary.build(["a", 3]), TypeError, "must be a string, got int"),
        (lambda: Vocabulary.build(["a b"], "tokens"), TypeError, "unit='words'"),
        (
            lambda: Vocabulary.build([["a"]], "tokens").encode(iter(["a"])),
            TypeError,
            r"got 'list_iterator'.* `list\(text\)`",
        ),
        (lambda: Vocabulary.build([3], "tokens"), TypeError, "strings.* got 'int'"),
        (lambda: Vocabulary.build("abc", min_count=2), ValueError, "lower min_count"),
        (lambda: Vocabulary("words", ("a", "a"), (0,) * 4), ValueError, "repeated"),
        (lambda: Vocabulary("words", ("a",), (1,)), ValueError, "one per id"),
        (
            lambda: Vocabulary.build("ab", specials=()).encode("abz"),
            ValueError,
            "token 2 of the text, 'z'",
        ),
        (
            lambda: Vocabulary.build("ab", specials=()).encode("a", end=True),
            ValueError,
            "'<eos>' among the specials",
        ),
        (lambda: Vocabulary.build("ab").decode([4]), ValueError, "contains the id 4"),
        (lambda: Vocabulary.build("ab").decode([0.5]), TypeError, "integer"),
        (lambda: Vocabulary.from_json("[]"), ValueError, "not JSON of a vocabulary"),
        (
            lambda: embedding_table(
                jax.random.key(0), Vocabulary.build("a", "bytes"), [], np.zeros((0, 2))
            ),
            ValueError,
            "bytes have no word vectors",
        ),
        (
            lambda: embedding_table(
                jax.random.key(0), Vocabulary.build("a"), ["a"], np.ones(1)
            ),
            ValueError,
            r"vectors must be \[words, features\], got \[1\]",
        ),
        (
            lambda: embedding_table(3, Vocabulary.build("a"), ["a"], np.ones((1, 2))),
            TypeError,
            "key must be a key of JAX",
        ),
        (
            lambda: table_of(["a"], dtype=int),
            TypeError,
            "floating-point dtype.*got int",
        ),
        (lambda: table_of(words="a"), TypeError, r"words .* got 'a'.* \('a',\)"),
        (lambda: Vocabulary.build("ab", limit=1.5), TypeError, "limit"),
        (
            lambda: Vocabulary.build("ab", specials="<unk>"),
            TypeError,
            r"specials .* got '<unk>'.* \('<unk>',\)",
        ),
        (
            lambda: Vocabulary("words", ("a",), (0,) * 6, "<unk>"),
            TypeError,
            "specials .* got '<unk>'",
        ),
        (
            lambda: Vocabulary("characters", "abc", (0,) * 5),
            TypeError,
            r"tokens .* got 'abc'. Pass tuple\('abc'\) .* or a tuple of the tokens",
        ),
        (lambda: read_vectors("none", only="cat"), TypeError, r"only .* \('cat',\)"),
        (lambda: Vocabulary.from_json('{"format": 2}'), ValueError, "format 2"),
        (lambda: Vocabulary.from_json("{"), ValueError, "not JSON of a vocabulary"),
    ],
)
def test_what_does_not_fit_is_an_error(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("change", [{"tokens": ["x"]}, {"extra": 1}, {"counts": []}])
def test_a_changed_vocabulary_is_refused(change):
    fields = json.loads(Vocabulary.build("ab").to_json())
    with pytest.raises(ValueError, match="was changed after"):
        Vocabulary.from_json(json.dumps({**fields, **change}))
    with pytest.raises(ValueError, match="format 2"):
        Vocabulary.from_json(json.dumps({**fields, "format": 2}))


GLOVE = "the 0.1 -0.2 3e-1\ncat .4 5 6\n\u2028 7 8 9\n"


@pytest.fixture
def file(tmp_path):
    def write(content, encoding="utf-8"):
        path = tmp_path / "vectors.txt"
        path.write_bytes(content.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("header", ["", "3 3\n"])
@pytest.mark.parametrize("end", ["\n", " \n", "\r\n"])
def test_both_formats_are_read(file, header, end):
    words, vectors = read_vectors(file((header + GLOVE).replace("\n", end)))
    assert words == ["the", "cat", "\u2028"]
    expected = np.float32([[0.1, -0.2, 0.3], [0.4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(vectors, expected)
    words, vectors = read_vectors(file(GLOVE), only=["cat", "dog"])
    assert words == ["cat"] and vectors.tolist() == expected[1:2].tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GLOVE + "dog 1 2\n", "line 4: expected a word and 3 values, got 3 fields"),
        (GLOVE + "dog 1 2 3 4\n", "line 4: .*pass spaces=True"),
        (GLOVE + "cat 1 2 3\n", "line 4: the word 'cat' is repeated"),
        (GLOVE + "dog 1 x 3\n", "line 4: 'x' is not a finite number"),
        (GLOVE + "dog 1 nan 3\n", "line 4: 'nan' is not a finite number"),
        (GLOVE + "dog 1 1e99 3\n", "line 4: '1e99' is not a finite number"),
        (GLOVE + "dog 1 2 3", "line 4: the file does not end with a line end"),
        (GLOVE + "\n", "line 4: expected a word"),
        ("5 3\n" + GLOVE, "line 4: the first line declares 5 words.*holds 3"),
        ("3 4\n" + GLOVE, "line 2: expected a word and 4 values"),
        ("\u00b2 3\n1 2\n3 4 5\n", "line 3: expected a word and 1 values"),
        ("", "contains no word vector"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(file, content, message):
    with pytest.raises(ValueError, match=message):
        read_vectors(file(content))


def test_other_encodings_are_refused(file):
    with pytest.raises(ValueError, match=r"line 1: byte 3 is not UTF-8"):
        read_vectors(file("caf\xe9 1 2\n", "latin-1"))


def test_words_with_spaces_are_read_where_that_is_allowed(file):
    content = "the 1 2\n. . . 3 4\n"
    assert read_vectors(file(content), spaces=True)[0] == ["the", ". . ."]


def test_an_embedding_starts_from_word_vectors():
    vocabulary = Vocabulary.build("The cat saw the other cats", "words")
    words = ["the", "cat", "saw", "unused"]
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    table, found = embedding_table(jax.random.key(0), vocabulary, words, vectors)
    rows = dict(zip(vocabulary.tokens, np.asarray(table)[2:], strict=True))
    np.testing.assert_array_equal(rows["The"], vectors[0])
    np.testing.assert_array_equal(rows[" cat"], vectors[1])
    assert not found[vocabulary.id(" other")] and np.std(rows[" other"]) > 0
    assert found.sum() == 4
    layer = jrnn.Embed(len(vocabulary), 3)
    ids = vocabulary.encode("The cat")
    _, ys = layer.apply(jrnn.layers.EmbedParams(table), (), ids)
    np.testing.assert_array_equal(ys, vectors[:2])
    with pytest.raises(ValueError, match="no token"):
        embedding_table(jax.random.key(0), Vocabulary.build("ab"), words, vectors)
