"""A word model of any text, with the recipe of AWD-LSTM for small texts [1].

Words, punctuation and line ends are tokens; rare ones become <unk>. The table of word
vectors is that of the output too. With `--variant regularized`, recurrent weights are
dropped, and inputs, layers and outputs have one dropout mask per chunk; with `plain`
nothing is dropped. The perplexity is exp(mean negative log-likelihood).

[1] Merity et al., 2017, https://arxiv.org/abs/1708.02182
"""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jrnn
from experiments.errors import UserError
from experiments.run import models
from experiments.run.options import Options
from experiments.run.task import Data, Generator, Progress, Reading, Score, Task
from experiments.tasks import corpus, parts, views
from jrnn import training
from jrnn.text import UNK, Vocabulary
from jrnn.types import Array, Params, PRNGKey, State

READ = 2048  # tokens that the report reads
SCORED = 512  # tokens per call when the held-out text is scored


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordOptions(Options):
    """Options of word_lm.

    Attributes:
      text: UTF-8 file to train on. Default: the Python language reference. The last
        10 % are held out.
      variant: regularized or plain.
      min_count: Words that occur less often in the training text become <unk>.
      chunk: Tokens per update, and the largest number of steps that gradients flow
        back.
      drop_weights: Probability of dropping a recurrent weight.
      drop_input: Probability of dropping a feature of a word vector.
      drop_output: Probability of dropping a feature before the output.
    """

    text: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    variant: Literal["regularized", "plain"] = "regularized"
    min_count: int = 3
    chunk: int = 35
    hidden_size: int = 200
    dropout: float = 0.2
    drop_weights: float = 0.4
    drop_input: float = 0.4
    drop_output: float = 0.4
    batch_size: int = 16
    learning_rate: float = 3e-3

    FREE = Options.FREE | {"text"}
    AT_LEAST = Options.AT_LEAST | {"min_count": 1, "chunk": 1}
    FRACTIONS = (*Options.FRACTIONS, "drop_weights", "drop_input", "drop_output")


class WordLM(Task):
    """The next word of a text, from all words before it."""

    name = "word_lm"
    about = "the next word of any text"
    options = WordOptions
    unit = "nats/word"

    def load(self, options: WordOptions) -> Data:
        """Reads the text; the vocabulary is that of the training text."""
        name, text = corpus.read_text(options.text)
        data = corpus.split(name, text, 1, ".")
        vocabulary = Vocabulary.build(
            data.train, "words", min_count=options.min_count, specials=(UNK,)
        )
        train, held_out = map(vocabulary.encode, (data.train, data.held_out))
        needed = options.batch_size * options.chunk + 1
        if len(train) < needed or not len(held_out):
            raise UserError(
                f"{name} is too short: {len(train)} words to train on, but one batch "
                f"needs {needed}. Use a longer text, or lower --batch-size or --chunk."
            )
        nats = parts.frequency_nats(train, held_out, len(vocabulary))
        return Data(
            name=name,
            facts=data.facts,
            saved={"vocabulary": vocabulary.to_json()},
            arrays=train,
            held_out=held_out,
            about={
                "words": f"{len(train):,} to train on, {len(held_out):,} held out, "
                f"{np.mean(held_out == 0):.1%} of them <unk>",
                "vocabulary": f"{len(vocabulary):,} words",
            },
            baselines={"word frequencies": {"perplexity": math.exp(nats)}},
        )

    def model(self, options: WordOptions, saved: dict[str, Any]) -> jrnn.Tied:
        """Returns recurrent layers between two uses of one table."""
        vocabulary = Vocabulary.from_json(saved["vocabulary"])
        embed = jrnn.Embed(len(vocabulary), options.hidden_size)
        cell = models.make_cell(options)
        if options.variant == "plain":
            layers = [jrnn.Recurrent(cell, method=options.method)] * options.layers
            return jrnn.Tied(embed, jrnn.Sequential(*layers))
        if options.drop_weights:
            cell = jrnn.WeightDrop(cell, options.drop_weights)
        layers = [jrnn.Recurrent(cell, method=options.method)] * options.layers
        return jrnn.Tied(
            embed,
            jrnn.Sequential(
                jrnn.Dropout(options.drop_input, locked=True),
                jrnn.Stack(*layers, dropout=options.dropout, locked=True),
                jrnn.Dropout(options.drop_output, locked=True),
            ),
        )

    def is_random(self, options: WordOptions) -> bool:
        """Whether the loss needs a key."""
        return options.variant == "regularized"

    def initial_state(
        self, options: WordOptions, model: jrnn.Tied, params: Params
    ) -> State:
        """Returns the state at the start of the text."""
        return model.initial_state(params, (options.batch_size,))

    def batch(
        self, options: WordOptions, arrays: Array, step: Array, rows: Array
    ) -> tuple[Array, Array]:
        """Returns inputs and targets [rows, chunk], which continue those before."""
        return parts.stream(options, arrays, step, rows)

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean negative log-likelihood of the targets, in nats."""
        inputs, targets = batch
        state, logits = model.apply(params, state, inputs, key=key)
        return training.cross_entropy(logits, targets), state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns the perplexity of the held-out text, with the state carried along."""
        nats = parts.stream_loss(
            model, params, data.arrays, data.held_out, SCORED, progress
        )
        perplexity = math.exp(min(nats, 50.0))
        figures = {"perplexity": perplexity, "held_out_nats": nats}
        return Score(figures, f"perplexity {perplexity:.1f} ({nats:.4f} nats per word)")

    def show(
        self, model: Any, params: Params, saved: dict[str, Any], seed: int, short: bool
    ) -> str:
        """Returns a sample without <unk>."""
        vocabulary = Vocabulary.from_json(saved["vocabulary"])
        bias = params.b.at[vocabulary.id(UNK)].set(-jnp.inf)
        _, ids = jrnn.generate(
            model,
            params._replace(b=bias),
            None,
            jnp.full((1, 1), vocabulary.id("\n")),
            50 if short else 120,
            key=jax.random.key(seed),
            temperature=0.8,
        )
        return vocabulary.decode(np.asarray(ids[0]))

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array | None:
        """Returns how far gradients flow back at places in the held-out text."""
        return views.text_by_lag(model, params, data.held_out)

    def reading(self, options: Any, model: Any, params: Params, data: Data) -> Reading:
        """Returns how the model reads the beginning of the held-out text."""
        vocabulary = Vocabulary.from_json(data.saved["vocabulary"])
        return views.reading(model, params, data.held_out[:READ], vocabulary)

    def generator(
        self, options: Any, model: Any, params: Params, saved: dict[str, Any]
    ) -> Generator:
        """Returns the model as a network that writes."""
        vocabulary = Vocabulary.from_json(saved["vocabulary"])
        starts = {"": model.initial_state(params, (1,))}
        return views.writer(model, params, vocabulary, starts, vocabulary.id("\n"))


TASK = WordLM()
