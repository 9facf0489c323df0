"""Word vectors: the text files of GloVe and word2vec, and tables for `jrnn.Embed`."""

import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import checks
from jrnn.text.vocabulary import Vocabulary
from jrnn.types import Array, DType, PRNGKey


def read_vectors(
    path: str | os.PathLike[str],
    *,
    only: Any = None,
    spaces: bool = False,
) -> tuple[list[str], np.ndarray]:
    r"""Reads word vectors in the text format of GloVe [1] or word2vec [2].

        word value value ... value

    One word per line, UTF-8, separated by single spaces. word2vec has a first line with
    the number of words and the number of values, which are checked.

    Args:
      path: The file.
      only: Words to keep, to save memory; None for all. All lines are checked.
      spaces: Whether words may contain spaces, as a few words of the largest
        GloVe file do.

    Returns:
      The words, in the order of the file, and their vectors, float32 [words, features].

    Raises:
      ValueError: if a line has another number of values than the first, a value is not
        a finite number, a word is repeated, or the file ends early. The message has the
        number of the line.
      TypeError: if `only` is one string.

    Example:
      >>> import pathlib, tempfile
      >>> from jrnn.text import read_vectors
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "vectors.txt"
      >>> _ = path.write_text("the 0.1 -0.2\ncat 0.3 0.4\n")
      >>> words, vectors = read_vectors(path)
      >>> words, vectors.shape
      (['the', 'cat'], (2, 2))

    References:
      [1] Pennington et al., 2014, https://nlp.stanford.edu/projects/glove/
      [2] Mikolov et al., 2013, https://arxiv.org/abs/1301.3781
    """
    checks.refuse_one_string("only", only)
    kept = None if only is None else set(only)
    seen: set[str] = set()
    words: list[str] = []
    rows: list[np.ndarray] = []
    promised = size = None
    where = os.fspath(path)
    for number, (where, fields) in enumerate(_lines(path)):
        if not number and len(fields) == 2 and all(map(_is_count, fields)):
            promised, size = map(int, fields)
            continue
        size = len(fields) - 1 if size is None else size
        word = _word(fields, size, spaces, where)
        if word in seen:
            raise ValueError(f"{where}: the word {word!r} is repeated.")
        seen.add(word)
        row = _values(fields[-size:], where)
        if kept is None or word in kept:
            words.append(word)
            rows.append(row)
    if promised is not None and len(seen) != promised:
        raise ValueError(
            f"{where}: the first line declares {promised} words, but the file holds "
            f"{len(seen)}. Download it again."
        )
    if not seen:
        raise ValueError(f"{where} contains no word vector.")
    return words, np.stack(rows) if rows else np.zeros((0, size or 0), np.float32)


def embedding_table(
    key: PRNGKey,
    vocabulary: Vocabulary,
    words: list[str],
    vectors: np.ndarray,
    dtype: DType = float,
) -> tuple[Array, np.ndarray]:
    """Returns a table for `jrnn.Embed` that starts from word vectors.

    A token gets the vector of the same word; otherwise that of the word without the
    space before it, or in lower case. All other rows are drawn from a normal
    distribution with the mean and the standard deviation of the rows that were found.

    Args:
      key: Source of randomness.
      vocabulary: The vocabulary; each of its ids has one row.
      words: Words, as from `read_vectors`.
      vectors: Their vectors [words, features].
      dtype: The dtype of the table.

    Returns:
      The table [len(vocabulary), features], and which rows were found, booleans.

    Raises:
      ValueError: if no token has a vector, or if words and vectors do not match.
      TypeError: if `words` is one string, `dtype` is not a floating-point dtype, or
        `key` is not a key.

    Example:
      >>> import jax, jrnn, numpy as np
      >>> vocabulary = jrnn.text.Vocabulary.build("the cat", "words")
      >>> table, found = jrnn.text.embedding_table(
      ...     jax.random.key(0), vocabulary, ["cat"], np.ones((1, 3), np.float32)
      ... )
      >>> table.shape, found.tolist()  # <unk>, <eos>, " cat", "the"
      ((4, 3), [False, False, True, False])
      >>> params = jrnn.layers.EmbedParams(table)
    """
    checks.dtype("dtype", dtype)
    checks.refuse_one_string("words", words)
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2:
        raise ValueError(
            f"vectors must be [words, features], got {list(vectors.shape)}. Stack one "
            "row for each word."
        )
    checks.count("words", words, len(vectors), "one per vector")
    if vocabulary.unit == "bytes":
        raise ValueError(
            "bytes have no word vectors. Build the vocabulary with unit 'words'."
        )
    rows = {word: row for row, word in enumerate(words)}
    index = np.full(len(vocabulary), -1)
    for id_, token in enumerate(vocabulary.tokens, len(vocabulary.specials)):
        spellings = (token, token.strip(), token.strip().lower())
        index[id_] = next((rows[word] for word in spellings if word in rows), -1)
    found = index >= 0
    if not found.any():
        raise ValueError(
            f"no token of {vocabulary} has a word vector. Vectors are for words: build "
            "the vocabulary with unit 'words' or 'tokens'."
        )
    known = vectors[index[found]]
    drawn = jax.random.normal(
        checks.init_key(key), (len(vocabulary), known.shape[1]), jnp.float32
    )
    table = (known.mean() + known.std() * drawn).at[found].set(known)
    return table.astype(dtype), found


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields the name of each line for messages, and its fields."""
    with open(path, "rb") as file:  # Unicode has line ends that may occur in words
        for number, line in enumerate(file, 1):
            where = f"{os.fspath(path)}, line {number}"
            if not line.endswith(b"\n"):
                raise ValueError(
                    f"{where}: the file does not end with a line end, so its last "
                    "value may be cut off. Download it again; add a line end if it is "
                    "whole."
                )
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{where}: byte {error.start} is not UTF-8 ({error.reason}). "
                    "Binary word2vec files must be converted to text first."
                ) from None
            yield where, text.rstrip("\r\n").rstrip(" ").split(" ")


def _word(fields: list[str], size: int, spaces: bool, where: str) -> str:
    """Returns the word of a line, with spaces if that is allowed."""
    number = len(fields) - size
    if size < 1 or number < 1 or (number > 1 and not spaces):
        hint = " If the word has spaces, pass spaces=True." if number > 1 else ""
        raise ValueError(
            f"{where}: expected a word and {max(size, 1)} values, got "
            f"{len(fields)} fields.{hint}"
        )
    return " ".join(fields[:number])


def _values(fields: list[str], where: str) -> np.ndarray:
    try:
        row = np.array(fields, np.float64)
    except ValueError:
        row = np.array([_number(field) for field in fields])
    finite = np.abs(row) <= np.finfo(np.float32).max
    if not finite.all():
        bad = fields[int(finite.argmin())]
        raise ValueError(f"{where}: {bad!r} is not a finite number.")
    return row.astype(np.float32)


def _number(field: str) -> float:
    try:
        return float(field)
    except ValueError:
        return np.nan


def _is_count(field: str) -> bool:
    return field.isascii() and field.isdigit()
