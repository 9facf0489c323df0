"""A character model of any text, by truncated backpropagation through time."""

import dataclasses
import math
from typing import Any, ClassVar

import jax.numpy as jnp

import jrnn
from experiments.run import models
from experiments.run.task import Data, Goal, Score
from experiments.tasks.language import LanguageModel, TextOptions
from jrnn.text import UNK, Vocabulary
from jrnn.types import Params

# The hash of tinyshakespeare.txt, whose last tenth others score too.
SHAKESPEARE = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
MAX_SYMBOLS = 8192  # rarer characters become <unk>, which limits the output layer
_WIDE = {"hidden_size": 512, "chunk": 32}  # for a text of a million characters


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharOptions(TextOptions):
    """Options of char_lm.

    Attributes:
      embedding_size: Features of the embedding of a character.
    """

    embedding_size: int = 64
    dropout: float = 0.1

    AT_LEAST = TextOptions.AT_LEAST | {"embedding_size": 1}


class CharLM(LanguageModel):
    """The next character of a text, from all characters before it."""

    name = "char_lm"
    about = "the next character of any text"
    options = CharOptions
    unit = "nats/char"
    tokens = "characters"
    presets: ClassVar = {  # about 5 minutes and 10, on two cores
        "shakespeare": {"steps": 5000, "dropout": 0.3, **_WIDE},
        "shakespeare-long": {"steps": 9000, "dropout": 0.4, **_WIDE},
    }
    lengths = 240, 600
    read = 8192

    def vocabulary(self, options: CharOptions, text: str) -> Vocabulary:
        """Returns the most frequent characters."""
        return Vocabulary.build(text, limit=MAX_SYMBOLS, specials=(UNK,))

    def goals(self, options: CharOptions, data: Data) -> list[Goal]:
        """Returns what is published of Tiny Shakespeare."""
        del options
        if data.facts["sha256"] != SHAKESPEARE:
            return []
        return [
            Goal("held_out_nats", 1.548, "minGRU, Feng et al. 2024"),
            Goal("held_out_nats", 1.470, "a Transformer, nanoGPT"),
            Goal("held_out_nats", 1.49, "target of 5 minutes"),
            Goal("held_out_nats", 1.45, "target of 30 minutes"),
        ]

    def model(self, options: CharOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns embedding, recurrent layers and output layer."""
        symbols = len(Vocabulary.from_json(saved["vocabulary"]))
        return jrnn.Sequential(
            jrnn.Embed(symbols, options.embedding_size),
            *models.recurrent(options),
            jrnn.Dense(symbols),
        )

    def without(self, params: Params, token: int) -> Params:
        """Sets the logit of a token to minus infinity."""
        *others, dense = params
        return (*others, dense._replace(b=dense.b.at[token].set(-jnp.inf)))

    def words(self, nats: float, tokens: int) -> Score:
        """Returns the loss in nats and in bits."""
        bits = nats / math.log(2)
        figures = {
            "held_out_nats": nats,
            "held_out_bits": bits,
            "held_out_characters": tokens,
        }
        return Score(figures, f"{bits:.3f} bits per character ({nats:.4f} nats)")


TASK = CharLM()
