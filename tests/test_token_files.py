"""Token files hold exactly the ids of a text, and no damage to them goes unnoticed."""

import codecs
import os
from concurrent import futures

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from jrnn.storage import disk, safetensors
from jrnn.storage.formats import FileError
from jrnn.text import UNK, TokenFile, Vocabulary, read_pieces, write_tokens

TEXT = "é\U0001f600 the cat\r\nsat, on\n\nthe mat" * 5


@pytest.fixture
def path(tmp_path):
    """A token file whose vocabulary does not have all characters."""
    file = tmp_path / "text.txt"
    file.write_bytes(codecs.BOM_UTF8 + TEXT.encode())
    vocabulary = Vocabulary.build(read_pieces(file, size=7), limit=9, specials=(UNK,))
    assert vocabulary == Vocabulary.build(TEXT, limit=9, specials=(UNK,))
    made, seen = tmp_path / "text.tokens", []
    pieces = read_pieces(file, seen.append, size=7)
    write_tokens(made, pieces, vocabulary, sum(vocabulary.counts))
    assert seen == sorted(seen) and seen[-1] == 1
    return made


def ids(path):
    return TokenFile(path).vocabulary.encode(TEXT)


@hypothesis.settings(derandomize=True, deadline=None, max_examples=60)
@hypothesis.given(strategies.text(), strategies.integers(4, 30))
def test_pieces_join_to_the_text(tmp_path_factory, text, size):
    file = tmp_path_factory.getbasetemp() / "pieces.txt"
    file.write_bytes(codecs.BOM_UTF8 + text.encode())
    pieces = list(read_pieces(file, size=size))
    assert "".join(pieces) == text and all(pieces)
    assert all("\n" not in piece.rstrip("\n") or len(piece) > 4 for piece in pieces)
    assert max(map(len, pieces), default=0) <= 2 * size


@pytest.mark.parametrize("start", [0, 3, 4, 5, 6, 99])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_bad_utf8_is_an_error_with_its_offset(tmp_path, start, mark):
    file = tmp_path / "bad.txt"
    good = mark + (b"a\xc3\xa9" * 99)[:start]
    for bad in (b"\xff" + b"a" * 9, b"\xf0\x9f\x98" + b"a", b"\xf0\x9f"):
        file.write_bytes(good + bad)
        with pytest.raises(UnicodeDecodeError) as whole:
            file.read_bytes().decode()
        with pytest.raises(ValueError, match=f"at offset {whole.value.start} "):
            list(read_pieces(file, size=4))


def test_all_ids_are_those_of_the_whole_text(path):
    with TokenFile(path) as file:
        assert len(file) == len(TEXT) and file[:].dtype == np.int32
        np.testing.assert_array_equal(file[:], ids(path))
        np.testing.assert_array_equal(file[-9:-2], ids(path)[-9:-2])
        assert file[5:5].size == 0
        file.verify()
        with pytest.raises(ValueError, match="step 1, got 2"):
            file[::2]


def test_windows_start_over_at_the_end(path):
    starts, end = np.array([[0, 40, 59], [61, 10**12, 3]]), 60
    with TokenFile(path) as file:
        found = file.windows(starts, 130, end)
        expected = ids(path)[(starts[..., None] + np.arange(130)) % end]
        np.testing.assert_array_equal(found, expected)
        assert file.windows(starts, 0).shape == (2, 3, 0)


@pytest.mark.parametrize(("symbols", "width"), [(255, 1), (256, 2), (65535, 2)])
def test_ids_take_as_few_bytes_as_they_need(tmp_path, symbols, width):
    text = "".join(map(chr, range(0x10000, 0x10000 + symbols)))
    vocabulary = Vocabulary.build(text, specials=(UNK,))
    path = tmp_path / "wide.tokens"
    write_tokens(path, [text], vocabulary, symbols)
    arrays, _ = safetensors.parse(path.read_bytes(), 1 << 30)  # as other programs do
    assert arrays["tokens"].dtype.itemsize == width
    np.testing.assert_array_equal(arrays["tokens"], np.arange(1, symbols + 1))


def test_every_changed_byte_is_noticed(path):
    good = path.read_bytes()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        path.write_bytes(bad)
        with pytest.raises((FileError, ValueError)), TokenFile(path) as file:
            file.verify()


def test_a_truncated_file_is_noticed_before_and_after_it_was_opened(path):
    good = path.read_bytes()
    with TokenFile(path) as file:
        os.truncate(path, len(good) - 40)
        with pytest.raises(FileError, match=r"text.tokens: 8 bytes are missing"):
            file[:]
    for size in (0, 7, 8, 99, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(FileError, match=r"text\.tokens"):
            TokenFile(path)


def test_an_id_out_of_range_is_noticed(path):
    data = bytearray(path.read_bytes())
    data[-40] = 10  # of 10 ids; the hash has 32 bytes
    path.write_bytes(data)
    with TokenFile(path) as file, pytest.raises(FileError, match="is 10, but its"):
        file[:]


def test_other_files_and_other_counts_are_refused(path, tmp_path):
    other = tmp_path / "other.tokens"
    other.write_bytes(safetensors.encode_header({}))
    with pytest.raises(FileError, match="is not a token file"):
        TokenFile(other)
    vocabulary = TokenFile(path).vocabulary
    with pytest.raises(ValueError, match="has 5 tokens, but count is 4"):
        write_tokens(tmp_path / "new.tokens", ["a cat"], vocabulary, 4)
    with pytest.raises(FileNotFoundError):
        TokenFile(tmp_path / "none.tokens")
    assert sorted(os.listdir(tmp_path)) == ["other.tokens", "text.tokens", "text.txt"]


def test_a_closed_file_does_not_read_the_file_that_has_its_number_now(path, tmp_path):
    with TokenFile(path) as tokens:
        number = tokens._number
    other = tmp_path / "other"
    other.write_bytes(bytes(1000))
    descriptors = [os.open(other, os.O_RDONLY)]
    while descriptors[-1] < number:
        descriptors.append(os.open(other, os.O_RDONLY))
    try:
        with pytest.raises(ValueError, match="text.tokens is closed"):
            tokens[0:3]
        with pytest.raises(ValueError, match="text.tokens is closed"):
            tokens.verify()
    finally:
        for each in descriptors:
            os.close(each)


def test_it_is_written_and_read_where_folders_and_positions_are_missing(
    tmp_path, monkeypatch
):
    """As on Windows, which opens no folder, has no `pread` and may change line ends."""
    opened, binary = os.open, 1 << 40

    def open_file(path, flags, *mode):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        assert flags & binary or flags & os.O_CREAT
        return opened(path, flags & ~binary, *mode)

    monkeypatch.setattr(os, "O_BINARY", binary, raising=False)
    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.delattr(os, "O_DIRECTORY")
    monkeypatch.delattr(os, "pread")
    path, vocabulary = tmp_path / "text.tokens", Vocabulary.build(TEXT)
    write_tokens(path, [TEXT], vocabulary, len(TEXT))
    expected = vocabulary.encode(TEXT)
    with TokenFile(path) as file, futures.ThreadPoolExecutor(4) as threads:
        file.verify()
        starts = [i % len(TEXT) for i in range(0, 9000, 7)]
        for start, found in zip(
            starts, threads.map(lambda i: file.windows([i], 5)[0], starts), strict=True
        ):
            np.testing.assert_array_equal(found, np.roll(expected, -start)[:5])
    assert disk.read_regular(path) == path.read_bytes()


def test_what_is_no_slice_or_window_is_an_error(path, tmp_path):
    tokens = TokenFile(path)
    with pytest.raises(TypeError, match=r"tokens\[begin:end\], got the index 3"):
        tokens[3]
    with pytest.raises(ValueError, match="end must be at most the number of tokens"):
        tokens.windows([1], 4, end=1000)
    with pytest.raises(TypeError, match="starts must be integers"):
        tokens.windows([1.5], 4)
    with pytest.raises(TypeError, match="count must be an integer"):
        write_tokens(tmp_path / "a", [TEXT], tokens.vocabulary, float(len(tokens)))


def test_a_text_may_be_one_piece(tmp_path):
    vocabulary = Vocabulary.build("the cat", "words", specials=(UNK,))
    write_tokens(tmp_path / "a", "the cat", vocabulary, sum(vocabulary.counts))
    assert vocabulary.decode(TokenFile(tmp_path / "a")[:]) == "the cat"


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_a_count_of_numpy_does_not_wrap(tmp_path, kind):
    vocabulary = Vocabulary.build(map(chr, range(300)), specials=(UNK,))
    write_tokens(tmp_path / "a", ["\u0100" * 200], vocabulary, kind(200))
    assert len(TokenFile(tmp_path / "a")[:]) == 200
