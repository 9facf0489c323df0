"""The base of language models of one text.

Row b of the batch starts at position b/B of the text, and continues at the beginning
when it reaches the end. The state is carried from chunk to chunk. Once every 40
updates, each row restarts from the initial state, because sampling and scoring start
from it.
"""

import abc
import dataclasses
import functools
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jrnn
from experiments.errors import UserError
from experiments.run.options import Options
from experiments.run.task import Data, Generator, Progress, Reading, Score, Task
from experiments.tasks import corpus, parts, views
from jrnn import training
from jrnn.text import UNK, Vocabulary
from jrnn.types import Array, Params, PRNGKey, State

SCORED = 2048  # tokens per call when the held-out text is scored
GLANCE = 8, 256, 1024  # places, tokens to read first, tokens to score


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextOptions(Options):
    """Options of models of a text.

    Attributes:
      text: UTF-8 file to train on, or a token file from the command tokens, which need
        not fit in memory. Default: the Python language reference that ships with
        Python, half a million characters. The last 10 % are held out.
      chunk: Tokens per update, and the largest number of steps that gradients flow
        back. The state is carried to the next chunk.
      score: Largest number of held-out tokens to score at the end.
    """

    text: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    chunk: int = 64
    score: int = 1_000_000

    FREE = Options.FREE | {"text", "score"}
    AT_LEAST = Options.AT_LEAST | {"chunk": 1, "score": 1}


class Writing(NamedTuple):
    """How a text is generated, as the options of the command `sample`."""

    length: int
    seed: int
    prime: str | None = None
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None


class LanguageModel(Task):
    """The next token of a text, from all tokens before it."""

    tokens: ClassVar[str]  # what the tokens are, such as "characters"
    lengths: ClassVar[tuple[int, int]]  # of a short sample and a long one, in tokens
    read: ClassVar[int]  # tokens that the report reads

    @abc.abstractmethod
    def vocabulary(self, options: Any, text: str) -> Vocabulary:
        """Returns the vocabulary of a training text, with <unk>."""

    @abc.abstractmethod
    def without(self, params: Params, token: int) -> Params:
        """Returns parameters that never generate a token."""

    @abc.abstractmethod
    def words(self, nats: float, tokens: int) -> Score:
        """Returns the score of a mean loss of so many tokens."""

    def load(self, options: Any) -> Data:
        """Reads the text; the vocabulary is that of the training text."""
        if options.text is not None and options.text.suffix == corpus.TOKENS:
            return self.load_tokens(options)
        name, text = corpus.read_text(options.text)
        whole = corpus.split(name, text)
        if not whole.train:
            raise self.too_short(name, options, 0)
        try:
            vocabulary = self.vocabulary(options, whole.train)
        except ValueError as error:
            raise UserError(f"{name} is too short: {error}") from None
        train, held_out = map(vocabulary.encode, (whole.train, whole.held_out))
        return self.data(options, name, whole.facts, vocabulary, train, held_out)

    def load_tokens(self, options: Any) -> Data:
        """Opens a token file; the vocabulary is that of the whole text."""
        text = corpus.TokenCorpus(options.text, self.tokens)
        held_out, vocabulary = text.held_out(options.score), text.file.vocabulary
        name = str(options.text)
        return self.data(options, name, text.facts, vocabulary, text, held_out)

    def data(
        self,
        options: Any,
        name: str,
        facts: dict[str, Any],
        vocabulary: Vocabulary,
        train: Any,
        held_out: np.ndarray,
    ) -> Data:
        """Returns tokens to train on, an array or a stream, and tokens to score."""
        if len(train) < needed_size(options):
            raise self.too_short(name, options, len(train))
        unknown = np.mean(held_out == vocabulary.id(UNK))
        frequent = parts.frequency_nats(vocabulary.counts, held_out)
        return Data(
            name=name,
            facts=facts,
            saved={"vocabulary": vocabulary.to_json()},
            arrays=train,
            held_out=held_out,
            about={
                self.tokens: f"{len(train):,} to train on, {len(held_out):,} held out, "
                f"{unknown:.2%} of them <unk>",
                "vocabulary": f"{len(vocabulary):,} symbols, one of them <unk>",
            },
            baselines={
                "token frequencies": self.words(frequent, len(held_out)).figures
            },
        )

    def other(self, data: Data, file: Path) -> Data:
        """Returns another text, with the vocabulary of the model.

        All tokens but the first are scored.
        """
        name, text = corpus.read_text(file)
        tokens = _vocabulary(data.saved["vocabulary"]).encode(text)
        if len(tokens) < 2:
            raise UserError(
                f"{file} has only {len(tokens)} {self.tokens}, but at least 2 are "
                "needed."
            )
        return data._replace(name=name, arrays=tokens[:1], held_out=tokens[1:])

    def too_short(self, name: str, options: Any, size: int) -> UserError:
        """Returns the error of a text with so few tokens to train on."""
        return UserError(
            f"{name} is too short: {size} {self.tokens} to train on, but one batch "
            f"needs {needed_size(options)} ({options.batch_size} rows times a chunk of "
            f"{options.chunk}, plus one). Use a longer text, or lower --batch-size or "
            "--chunk."
        )

    def initial_state(self, options: Any, model: Any, params: Params) -> State:
        """Returns the state at the start of the text."""
        return model.initial_state(params, (options.batch_size,))

    def batch(self, options: Any, arrays: Array, step: Array, rows: Array) -> Any:
        """Returns inputs and targets [rows, chunk], and which rows begin anew."""
        read = parts.stream(options, arrays, step, rows)
        return (*read, parts.fresh(step, rows))

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean negative log-likelihood of the targets, in nats."""
        inputs, targets, fresh = batch
        new = model.initial_state(params, fresh.shape)
        state = jax.tree.map(functools.partial(_begun, fresh), new, state)
        state, logits = model.apply(params, state, inputs, key=key)
        return training.cross_entropy(logits, targets), state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Scores every held-out token, with the state carried along.

        The first one is predicted from the last token of the training text, and the
        others from all held-out text before them.
        """
        held_out = data.held_out[: options.score]
        nats = parts.stream_loss(model, params, data.arrays, held_out, SCORED, progress)
        return self.words(nats, len(held_out))

    def glance(self, options: Any, model: Any, params: Params, data: Data) -> Score:
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
        return self.words(float(nats), places * size)

    def show(
        self, model: Any, params: Params, saved: dict[str, Any], seed: int, short: bool
    ) -> str:
        """Returns a sample."""
        few, many = self.lengths
        # A short sample is part of a long one, so one program generates both.
        text = self.write(model, params, saved, Writing(length=many, seed=seed))
        return text[: len(text) * few // many] if short else text

    def warn_of_unknown(self, saved: dict[str, Any], prime: str) -> None:
        """Prints a warning if some of a prime is not in the vocabulary."""
        if unknown := _vocabulary(saved["vocabulary"]).unknown(prime):
            print(
                f"warning: these characters are not in the vocabulary and are read as "
                f"<unk>: {''.join(unknown)!r}",
                file=sys.stderr,
            )

    def write(self, model: Any, params: Params, saved: dict[str, Any], how: Any) -> str:
        """Returns the prime and the text that the model generates, without `<unk>`."""
        vocabulary = _vocabulary(saved["vocabulary"])
        start = _first(vocabulary) if how.prime is None else how.prime
        _, ids = jrnn.generate(
            model,
            self.without(params, vocabulary.id(UNK)),
            None,
            jnp.asarray(vocabulary.encode(start)[None]),
            how.length,
            key=jax.random.key(how.seed),
            temperature=how.temperature,
            top_k=how.top_k,
            top_p=how.top_p,
        )
        return start + vocabulary.decode(np.asarray(ids[0]))

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array | None:
        """Returns how far gradients flow back at places in the held-out text."""
        return views.text_by_lag(model, params, data.held_out)

    def reading(self, options: Any, model: Any, params: Params, data: Data) -> Reading:
        """Returns how the model reads the beginning of the held-out text."""
        vocabulary = _vocabulary(data.saved["vocabulary"])
        return views.reading(model, params, data.held_out[: self.read], vocabulary)

    def generator(
        self, options: Any, model: Any, params: Params, saved: dict[str, Any]
    ) -> Generator:
        """Returns the model as a network that writes."""
        vocabulary = _vocabulary(saved["vocabulary"])
        starts = {"": model.initial_state(params, (1,))}
        first = vocabulary.id(_first(vocabulary))
        return views.writer(model, params, vocabulary, starts, first)


def needed_size(options: Any) -> int:
    """Returns the smallest number of tokens to train on."""
    return options.batch_size * options.chunk + 1


def _first(vocabulary: Vocabulary) -> str:
    """Returns the token that a text is written after: a line break, if there is one."""
    return "\n" if "\n" in vocabulary.tokens else vocabulary.tokens[0]


def _begun(fresh: Array, new: Array, old: Array) -> Array:
    """Returns a leaf of the state, new where rows begin anew."""
    return jnp.where(fresh.reshape(-1, *(1,) * (old.ndim - 1)), new, old)


@functools.lru_cache(maxsize=8)
def _vocabulary(text: str) -> Vocabulary:
    return Vocabulary.from_json(text)
