"""Addition as translation: from the characters `535+61` to the characters `596`.

An encoder reads the question in reverse order, as Keras's example of this task does
[1], and a decoder writes the answer. There are 50,000 examples with numbers of up to
three digits; questions that are scored do not occur in training.

[1] https://keras.io/examples/nlp/addition_rnn/ (2015): 99 % of the answers
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.run import models
from experiments.run.options import Options
from experiments.run.task import (
    Alignment,
    Data,
    Goal,
    Progress,
    Score,
    Translator,
)
from experiments.tasks import parts, views
from experiments.tasks.bases import Examples
from jrnn import training
from jrnn.types import Array, Params, PRNGKey, State

SYMBOLS = "$0123456789+ "  # the first one is the start and the end
END = 0
SHOWN = 6  # questions in the report
DEPENDENCE = "gradient of the log-probability of a symbol, relative to the largest"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdditionOptions(Options):
    """Options of addition.

    Attributes:
      digits: Largest number of digits of both numbers.
      examples: Number of questions.
      held_out: Number of them that are held out and scored.
      embedding_size: Features of the embedding of a character.
    """

    digits: int = 3
    examples: int = 50_000
    held_out: int = 5_000
    embedding_size: int = 16
    hidden_size: int = 128
    batch_size: int = 128
    learning_rate: float = 4e-3

    UPDATES = 4000
    AT_LEAST = Options.AT_LEAST | {
        "digits": 1,
        "examples": 2,
        "held_out": 1,
        "embedding_size": 1,
    }


class Addition(Examples):
    """The sum of two numbers, as text."""

    name = "addition"
    about = "the sum of two numbers, from text to text"
    options = AdditionOptions
    unit = "nats/char"
    lower_is_better = False

    def load(self, options: AdditionOptions) -> Data:
        """Makes questions, each once, and their answers."""
        rng = np.random.default_rng(0)
        pairs: dict[tuple[int, int], None] = {}
        while len(pairs) < options.examples:
            digits = rng.integers(1, options.digits + 1, 2)
            a, b = sorted(int(rng.integers(0, 10**n)) for n in digits)
            pairs[a, b] = None
            if len(pairs) >= 10 ** (2 * options.digits) // 2:
                break
        width = options.digits + 2
        source = [_encode(f"{a}+{b}"[::-1], 2 * options.digits + 1) for a, b in pairs]
        target = [_encode(f"{a + b}$", width) for a, b in pairs]
        arrays = {"source": np.stack(source), "target": np.stack(target)}
        held = min(options.held_out, len(pairs) - 1)
        arrays, held_out = parts.split_examples(arrays, held, seed=0)
        return Data(
            name=f"generated, numbers of up to {options.digits} digits",
            facts={"sha256": parts.fingerprint([arrays, held_out])},
            saved={"width": width},
            arrays=arrays,
            held_out=held_out,
            about={"questions": f"{len(arrays['source'])}, and {held} held out"},
        )

    def goals(self, options: AdditionOptions, data: Data) -> list[Goal]:
        """Returns the figure of Keras's example [1], for its numbers of 3 digits."""
        del data
        return [Goal("exact", 0.99, "Keras 2015")] if options.digits == 3 else []

    def model(self, options: AdditionOptions, saved: dict[str, Any]) -> Any:
        """Returns an encoder and a decoder of the same layers."""
        del saved
        embed = jrnn.Embed(len(SYMBOLS), options.embedding_size)
        layers = models.recurrent(options)
        return jrnn.EncoderDecoder(
            encoder=jrnn.Sequential(embed, *layers),
            decoder=jrnn.Sequential(embed, *layers, jrnn.Dense(len(SYMBOLS))),
            start=END,
        )

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean cross-entropy of the characters of the answers."""
        target = batch["target"]
        logits = model.apply(
            params, batch["source"], target, lengths=_lengths(batch["source"]), key=key
        )
        return training.cross_entropy(logits, target, _counted(target)), state

    def weight(self, batch: Any) -> Array:
        """Returns the number of characters that count."""
        return jnp.sum(_counted(batch["target"]))

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns the fraction of answers that are right in every character."""

        @jax.jit
        def right(batch: Any) -> Array:
            found = _answer(model, params, batch["source"], batch["target"].shape[1])
            wrong = (found != batch["target"]) & _counted(batch["target"])
            return ~jnp.any(wrong, axis=-1)

        exact = parts.mean_over_examples(right, data.held_out, progress)
        return Score({"exact": exact}, f"{exact:.2%} of the answers exact")

    def program(
        self, model: Any, params: Params, saved: Any, batch: Any, time: Any
    ) -> Any:
        """Returns the answers [batch, width] to questions, both as ids."""
        del time
        answer = functools.partial(_answer, model, params, width=saved["width"])
        shape = (batch, 2 * saved["width"] - 3)
        return answer, (jax.ShapeDtypeStruct(shape, jnp.int32),)

    def alignments(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> list[Alignment]:
        """Returns which characters of held-out questions the answers depend on."""
        source = jnp.asarray(data.held_out["source"][:SHOWN])
        answers = _answer(model, params, source, data.saved["width"])
        lengths, counted = _lengths(source), _counted(answers)
        weights = views.dependence(model, params, source, answers, lengths)
        found = []
        for n in range(len(source)):
            size, width = int(lengths[n]), int(counted[n].sum())
            question = [SYMBOLS[i] for i in source[n, :size].tolist()][::-1]
            answer = [SYMBOLS[i] for i in answers[n, :width].tolist()]
            shown = weights[n, :width, :size][:, ::-1]
            found.append(Alignment(question, answer, shown, DEPENDENCE))
        return found

    def translator(
        self, options: Any, model: Any, params: Params, saved: dict[str, Any]
    ) -> Translator:
        """Returns the model as a network that adds in the page."""
        width, digits = saved["width"], saved["width"] - 2

        def answer(source: Array, length: Array) -> tuple[Array]:
            given = {"lengths": length[None], "end": END}
            return (model.generate(params, source[None], width, **given)[0],)

        return Translator(
            answer=answer,
            width=2 * digits + 1,
            symbols=list(SYMBOLS),
            padding=SYMBOLS.index(" "),
            answers=list(SYMBOLS),
            end=END,
            examples=[f"{n}+{m}" for n, m in sums(digits)],
            backwards=True,
        )

    def show(
        self, model: Any, params: Params, saved: dict[str, Any], seed: int, short: bool
    ) -> str:
        """Returns a few questions with the answers of the model."""
        lines = []
        for a, b in sums(saved["width"] - 2, 3 if short else 8, seed):
            source = _encode(f"{a}+{b}"[::-1], 2 * saved["width"] - 3)[None]
            ids = _answer(model, params, jnp.asarray(source), saved["width"])[0]
            text = "".join(SYMBOLS[i] for i in ids.tolist()).partition("$")[0]
            mark = "right" if text == str(a + b) else f"wrong, {a + b}"
            lines.append(f"{a} + {b} = {text}   ({mark})")
        return "\n".join(lines)


def sums(digits: int, number: int = 8, seed: int = 0) -> list[tuple[int, int]]:
    """Returns pairs of numbers of up to so many digits, the smaller one first."""
    rng = np.random.default_rng(seed)
    pairs = (rng.integers(0, 10**digits, 2).tolist() for _ in range(number))
    return [(min(pair), max(pair)) for pair in pairs]


def _encode(text: str, width: int) -> np.ndarray:
    return np.array([SYMBOLS.index(c) for c in text.ljust(width)], np.int32)


def _lengths(source: Array) -> Array:
    """Returns the number of characters of each question: those after it are spaces."""
    return jnp.sum(source != SYMBOLS.index(" "), axis=-1)


def _counted(target: Array) -> Array:
    """Returns which characters count: those up to the end."""
    ended = jnp.cumsum(target == END, axis=-1)
    return (ended == 0) | ((ended == 1) & (target == END))


def _answer(model: Any, params: Params, source: Array, width: int) -> Array:
    lengths = _lengths(source)
    return model.generate(params, source, width, lengths=lengths, end=END)


TASK = Addition()
