"""Text as arrays: vocabularies of characters, bytes and words, and word vectors."""

from jrnn.text.units import UNITS as UNITS, join as join, split as split
from jrnn.text.vectors import (
    embedding_table as embedding_table,
    read_vectors as read_vectors,
)
from jrnn.text.vocabulary import EOS as EOS, UNK as UNK, Vocabulary as Vocabulary
