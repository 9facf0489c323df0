"""A character model of any text, by truncated backpropagation through time.

Row b of the batch starts at position b/B of the text, and continues at the beginning
when it reaches the end. The state is carried from chunk to chunk and never reset.
"""

import dataclasses
import functools
import math
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jrnn
from experiments.run import models
from experiments.run.options import Options
from experiments.run.task import Data, Generator, Goal, Progress, Reading, Score, Task
from experiments.tasks import corpus, parts, views
from jrnn import training
from jrnn.text import UNK, Vocabulary
from jrnn.types import Array, Params, PRNGKey, State

# The hash of tinyshakespeare.txt, whose last tenth others score too.
SHAKESPEARE = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
MAX_SYMBOLS = 8192  # rarer characters become <unk>, which limits the output layer
SCORED = 2048  # characters per call when the held-out text is scored
READ = 8192  # characters that the report reads
GLANCE = 8, 256, 1024  # places, characters to read first, characters to score


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharOptions(Options):
    """Options of char_lm.

    Attributes:
      text: UTF-8 file to train on. Default: the Python language reference that ships
        with Python, half a million characters. The last 10 % are held out.
      embedding_size: Features of the embedding of a character.
      chunk: Characters per update, and the largest number of steps that gradients flow
        back. The state is carried to the next chunk.
      score: Largest number of held-out characters to score at the end.
    """

    text: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    embedding_size: int = 64
    chunk: int = 64
    dropout: float = 0.1
    score: int = 1_000_000

    FREE = Options.FREE | {"text", "score"}
    AT_LEAST = Options.AT_LEAST | {"embedding_size": 1, "chunk": 1, "score": 1}


class CharLM(Task):
    """The next character of a text, from all characters before it."""

    name = "char_lm"
    about = "the next character of any text"
    options = CharOptions
    unit = "nats/char"

    def load(self, options: CharOptions) -> Data:
        """Reads the text; the vocabulary is that of the training text."""
        name, text = corpus.read_text(options.text)
        needed = options.batch_size * options.chunk + 1
        hint = (
            f"({options.batch_size} rows times a chunk of {options.chunk}, plus one). "
            "Use a longer text, or lower --batch-size or --chunk."
        )
        data = corpus.split(name, text, needed, hint)
        vocabulary = Vocabulary.build(data.train, limit=MAX_SYMBOLS, specials=(UNK,))
        held_out = vocabulary.encode(data.held_out)
        unknown = int(np.sum(held_out == vocabulary.id(UNK)))
        nats = parts.frequency_nats(
            vocabulary.encode(data.train), held_out, len(vocabulary)
        )
        return Data(
            name=name,
            facts=data.facts,
            saved={"vocabulary": vocabulary.to_json()},
            arrays=vocabulary.encode(data.train),
            held_out=held_out,
            about={
                "characters": f"{len(data.train):,} to train on, {len(held_out):,} "
                f"held out, {unknown} of them <unk>",
                "vocabulary": f"{len(vocabulary)} symbols, one of them <unk>",
            },
            baselines={"character frequencies": {"held_out_nats": nats}},
        )

    def goals(self, options: CharOptions, data: Data) -> list[Goal]:
        """Returns what is published of Tiny Shakespeare."""
        del options
        if data.facts["sha256"] != SHAKESPEARE:
            return []
        return [
            Goal("held_out_nats", 1.548, "minGRU, Feng et al. 2024"),
            Goal("held_out_nats", 1.470, "a Transformer, nanoGPT"),
        ]

    def model(self, options: CharOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns embedding, recurrent layers and output layer."""
        symbols = len(_vocabulary(saved["vocabulary"]))
        return jrnn.Sequential(
            jrnn.Embed(symbols, options.embedding_size),
            *models.recurrent(options),
            jrnn.Dense(symbols),
        )

    def initial_state(
        self, options: CharOptions, model: jrnn.Sequential, params: Params
    ) -> State:
        """Returns the state at the start of the text."""
        return model.initial_state(params, (options.batch_size,))

    def batch(
        self, options: CharOptions, arrays: Array, step: Array, rows: Array
    ) -> tuple[Array, Array]:
        """Returns inputs and targets [rows, chunk]."""
        return parts.stream(options, arrays, step, rows)

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean negative log-likelihood of the targets, in nats."""
        inputs, targets = batch
        state, logits = model.apply(params, state, inputs, key=key)
        return training.cross_entropy(logits, targets), state

    def score(
        self,
        options: CharOptions,
        model: Any,
        params: Params,
        data: Data,
        progress: Progress,
    ) -> Score:
        """Scores every held-out character, with the state carried along.

        The first one is predicted from the last character of the training text, and the
        others from all held-out text before them.
        """
        held_out = data.held_out[: options.score]
        nats = parts.stream_loss(model, params, data.arrays, held_out, SCORED, progress)
        return _words(nats, len(held_out))

    def glance(
        self, options: CharOptions, model: Any, params: Params, data: Data
    ) -> Score:
        """Scores the same places, spread over the held-out text, every time."""
        places, before, size = GLANCE
        last = len(data.held_out) - (before + size + 1)
        if last < places:
            return super().glance(options, model, params, data)
        starts = np.linspace(0, last, places).astype(int)
        read = np.stack([data.held_out[i : i + before + size + 1] for i in starts])
        mask = np.arange(before + size) >= before
        chunk = training.Chunk(
            (jnp.asarray(read[:, :-1]), jnp.asarray(read[:, 1:])),
            jnp.broadcast_to(jnp.asarray(mask), (places, before + size)),
        )
        state = model.initial_state(params, (places,))
        _, nats = parts.chunk_loss(model, params, state, chunk, part=True)
        return _words(float(nats), places * size)

    def show(
        self, model: Any, params: Params, saved: dict[str, Any], seed: int, short: bool
    ) -> str:
        """Returns a sample."""
        how = Writing(length=240 if short else 600, seed=seed)
        return self.write(model, params, saved, how)

    def write(self, model: Any, params: Params, saved: dict[str, Any], how: Any) -> str:
        """Returns the prime and the text that the model generates, without `<unk>`."""
        vocabulary = _vocabulary(saved["vocabulary"])
        *others, dense = params
        unk = vocabulary.id(UNK)
        masked = dense._replace(b=dense.b.at[unk].set(-jnp.inf))
        first = "\n" if "\n" in vocabulary.tokens else vocabulary.tokens[0]
        start = first if how.prime is None else how.prime
        if vocabulary.unknown(start):
            print(
                "warning: not in the vocabulary, read as <unk>: "
                f"{''.join(vocabulary.unknown(start))!r}",
                file=sys.stderr,
            )
        _, symbols = jrnn.generate(
            model,
            (*others, masked),
            None,
            jnp.asarray(vocabulary.encode(start)[None]),
            how.length,
            key=jax.random.key(how.seed),
            temperature=how.temperature,
            top_k=how.top_k,
            top_p=how.top_p,
        )
        return start + vocabulary.decode(np.asarray(symbols[0]))

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array | None:
        """Returns how far gradients flow back at places in the held-out text."""
        return views.text_by_lag(model, params, data.held_out)

    def reading(self, options: Any, model: Any, params: Params, data: Data) -> Reading:
        """Returns how the model reads the beginning of the held-out text."""
        vocabulary = _vocabulary(data.saved["vocabulary"])
        return views.reading(model, params, data.held_out[:READ], vocabulary)

    def generator(
        self, options: Any, model: Any, params: Params, saved: dict[str, Any]
    ) -> Generator:
        """Returns the model as a network that writes."""
        vocabulary = _vocabulary(saved["vocabulary"])
        starts = {"": model.initial_state(params, (1,))}
        first = vocabulary.id(
            "\n" if "\n" in vocabulary.tokens else vocabulary.tokens[0]
        )
        return views.writer(model, params, vocabulary, starts, first)


class Writing(NamedTuple):
    """How a text is generated, as the options of the command `sample`."""

    length: int
    seed: int
    prime: str | None = None
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None


@functools.lru_cache(maxsize=8)
def _vocabulary(text: str) -> Vocabulary:
    return Vocabulary.from_json(text)


def _words(nats: float, characters: int) -> Score:
    bits = nats / math.log(2)
    figures = {
        "held_out_nats": nats,
        "held_out_bits": bits,
        "held_out_characters": characters,
    }
    return Score(figures, f"{bits:.3f} bits per character ({nats:.4f} nats)")


TASK = CharLM()
