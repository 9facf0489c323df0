"""A word model of any text, with the recipe of AWD-LSTM for small texts [1].

Words, punctuation and line ends are tokens; rare ones become <unk>. The embedding and
the output layer share one table of word vectors. With `--variant regularized`,
recurrent weights are dropped, and word vectors and layers have one dropout mask per
chunk; with `plain`, nothing is dropped. The perplexity is exp(mean negative
log-likelihood).

[1] Merity et al., 2017, https://arxiv.org/abs/1708.02182
"""

import dataclasses
import math
from typing import Any, Literal

import jax.numpy as jnp

import jrnn
from experiments.run import models
from experiments.run.task import Score
from experiments.tasks.language import LanguageModel, TextOptions
from jrnn.text import UNK, Vocabulary
from jrnn.types import Cell, Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordOptions(TextOptions):
    """Options of word_lm.

    Attributes:
      variant: regularized or plain.
      min_count: Words that occur less often in the training text become <unk>.
      drop_weights: Probability of dropping a recurrent weight.
      drop_input: Probability of dropping a feature of a word vector.
    """

    variant: Literal["regularized", "plain"] = "regularized"
    min_count: int = 3
    chunk: int = 35
    hidden_size: int = 200
    dropout: float = 0.4
    drop_weights: float = 0.4
    drop_input: float = 0.4
    batch_size: int = 16
    learning_rate: float = 3e-3

    UPDATES = 6000
    AT_LEAST = TextOptions.AT_LEAST | {"min_count": 1}
    FRACTIONS = (*TextOptions.FRACTIONS, "drop_weights", "drop_input")


class WordLM(LanguageModel):
    """The next word of a text, from all words before it."""

    name = "word_lm"
    about = "the next word of any text"
    options = WordOptions
    unit = "nats/word"
    tokens = "words"
    lengths = 50, 120
    read = 2048

    def vocabulary(self, options: WordOptions, text: str) -> Vocabulary:
        """Returns the words that are not rare."""
        rare = options.min_count
        return Vocabulary.build(text, "words", min_count=rare, specials=(UNK,))

    def cell(self, options: WordOptions) -> Cell:
        """Returns a cell that drops recurrent weights, unless the variant is plain."""
        cell = super().cell(options)
        if options.variant == "plain" or not options.drop_weights:
            return cell
        return jrnn.WeightDrop(cell, options.drop_weights)

    def model(self, options: WordOptions, saved: dict[str, Any]) -> jrnn.Tied:
        """Returns recurrent layers between two uses of one table."""
        words = len(Vocabulary.from_json(saved["vocabulary"]))
        table = jrnn.Embed(words, options.hidden_size)
        if options.variant == "plain":
            plain = dataclasses.replace(options, dropout=0.0)
            return jrnn.Tied(table, jrnn.Sequential(*models.recurrent(plain)))
        layers = models.recurrent(options, cell=self.cell(options))
        below = jrnn.Dropout(options.drop_input, locked=True)
        return jrnn.Tied(table, jrnn.Sequential(below, *layers))

    def is_random(self, options: WordOptions) -> bool:
        """Whether the loss needs a key."""
        return options.variant == "regularized"

    def without(self, params: Params, token: int) -> Params:
        """Sets the logit of a token to minus infinity."""
        return params._replace(b=params.b.at[token].set(-jnp.inf))

    def words(self, nats: float, tokens: int) -> Score:
        """Returns the perplexity."""
        perplexity = math.exp(min(nats, 50.0))
        figures = {"perplexity": perplexity, "held_out_nats": nats}
        return Score(figures, f"perplexity {perplexity:.1f} ({nats:.4f} nats per word)")


TASK = WordLM()
