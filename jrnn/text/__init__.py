"""Text as arrays: vocabularies of characters, bytes and words, files of tokens, and
word vectors."""

from jrnn.text.pieces import read_pieces as read_pieces
from jrnn.text.token_files import TokenFile as TokenFile, write_tokens as write_tokens
from jrnn.text.units import UNITS as UNITS, join as join, split as split
from jrnn.text.vectors import (
    embedding_table as embedding_table,
    read_vectors as read_vectors,
)
from jrnn.text.vocabulary import EOS as EOS, UNK as UNK, Vocabulary as Vocabulary
