"""Dates as translation: from `mardi 3 avril 2007` to `2007-04-03`.

Days of a hundred years, in sixteen languages and the formats of the package Babel. An
encoder reads the text in both directions, and a decoder with attention writes the date
of ISO 8601 [1]. Days that are scored do not occur in training, in any language. Years
of two digits are 1969 to 2068, as POSIX reads them. The baseline reads the numbers in
the text, and takes month 1 if the month is a word.

[1] Bahdanau et al., 2015, https://arxiv.org/abs/1409.0473
"""

import dataclasses
import datetime
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.errors import UserError
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
from jrnn.sequences import pad
from jrnn.text import UNK, Vocabulary
from jrnn.types import Array, Params, PRNGKey, State

# Languages that write the day before the month, or the year first.
LOCALES = (
    *("cs", "de", "el", "en_GB", "es", "fi", "fr", "hu"),
    *("it", "ja", "nl", "pl", "pt", "ru", "sv", "tr"),
)
FORMATS = ("short", "medium", "long", "full", "d MMMM y", "EEE, d MMM y")
FIRST, LAST = datetime.date(1969, 1, 1), datetime.date(2068, 12, 31)
SYMBOLS = "$0123456789-"  # the first one is the start
START, WIDTH = 0, len("2007-04-03")
LONGEST = 40  # characters of a text in the report
SHADES = " .:-=+*#%@"  # of a picture of weights, from 0 to 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatesOptions(Options):
    """Options of dates.

    Attributes:
      examples: Number of texts to train on.
      held_out: Number of texts to score, of the tenth of the days that is held out.
      embedding_size: Features of the embedding of a character.
    """

    examples: int = 40_000
    held_out: int = 2_000
    embedding_size: int = 32
    cell: str = "gru"
    hidden_size: int = 96
    batch_size: int = 64
    learning_rate: float = 4e-3

    UPDATES = 600
    AT_LEAST = Options.AT_LEAST | {"examples": 1, "held_out": 1, "embedding_size": 1}


class Dates(Examples):
    """A date in any of several languages, as year, month and day."""

    name = "dates"
    about = "dates of many languages, to year, month and day"
    options = DatesOptions
    unit = "nats/char"
    lower_is_better = False

    def load(self, options: DatesOptions) -> Data:
        """Writes the texts; the vocabulary is that of those to train on."""
        rng = np.random.default_rng(0)
        days = rng.permutation((LAST - FIRST).days + 1)
        border = len(days) * 9 // 10
        train = _written(rng.choice(days[:border], options.examples), rng)
        held_out = _written(rng.choice(days[border:], options.held_out), rng)
        vocabulary = Vocabulary.build([text for text, _ in train], specials=(UNK,))
        arrays, scored = (_arrays(some, vocabulary) for some in (train, held_out))
        numbers = float(np.mean([by_numbers(text) == date for text, date in held_out]))
        return Data(
            name=f"dates in {len(LOCALES)} languages, from Babel",
            facts={"sha256": parts.fingerprint([arrays, scored])},
            saved={"vocabulary": vocabulary.to_json(), "examples": held_out[:8]},
            arrays=arrays,
            held_out=scored,
            about={
                "texts": f"{len(train):,} to train on, {len(held_out):,} held out",
                "baseline": f"{numbers:.2%} exact, from the numbers in the text",
            },
            baselines={"the numbers in the text": {"exact": numbers}},
        )

    def goals(self, options: DatesOptions, data: Data) -> list[Goal]:
        """Returns a target."""
        del options, data
        return [Goal("exact", 0.98, "target")]

    def model(self, options: DatesOptions, saved: dict[str, Any]) -> Any:
        """Returns an encoder of both directions, and a decoder with attention."""
        symbols = len(Vocabulary.from_json(saved["vocabulary"]))
        encoder = jrnn.Sequential(
            jrnn.Embed(symbols, options.embedding_size),
            *models.recurrent(options, both=True),
        )
        decoder = jrnn.Sequential(
            jrnn.Embed(len(SYMBOLS), options.embedding_size),
            *models.recurrent(options),
            jrnn.Attention(
                options.hidden_size, 2 * models.make_cell(options).output_size
            ),
            jrnn.Dense(len(SYMBOLS)),
        )
        return jrnn.EncoderDecoder(encoder, decoder, start=START, bridge="dense")

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean cross-entropy of the characters of the dates."""
        given = {"lengths": batch["lengths"], "key": key}
        logits = model.apply(params, batch["source"], batch["target"], **given)
        return training.cross_entropy(logits, batch["target"]), state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns how many dates are exact, and how well years are aligned.

        `year_aligned` is the fraction of the digits of years that look most at the year
        in the text, in texts that have a year of four digits.
        """

        @jax.jit
        def values(batch: Any) -> dict[str, Array]:
            source, lengths, year = batch["source"], batch["lengths"], batch["year"]
            found = model.generate(params, source, WIDTH, lengths=lengths)
            place = jnp.argmax(look(model, params, source, lengths, found), axis=-1)
            off = place[:, :4] - year[:, None]
            known = year >= 0
            return {
                "exact": jnp.all(found == batch["target"], axis=-1),
                "aligned": known * jnp.mean((off >= 0) & (off < 4), axis=-1),
                "known": known,
            }

        found = parts.mean_over_examples(values, data.held_out, progress)
        aligned = found["aligned"] / max(found["known"], 1e-9)
        exact = found["exact"]
        words = f"{exact:.2%} of the dates exact, {aligned:.1%} of the years aligned"
        return Score({"exact": exact, "year_aligned": aligned}, words)

    def program(
        self, model: Any, params: Params, saved: Any, batch: Any, time: Any
    ) -> Any:
        """Returns the ids of the dates [batch, 10] of texts and their lengths."""
        del saved

        def answer(source: Array, lengths: Array) -> Array:
            return model.generate(params, source, WIDTH, lengths=lengths)

        shapes = (batch, time), (batch,)
        return answer, tuple(jax.ShapeDtypeStruct(s, jnp.int32) for s in shapes)

    def alignments(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> list[Alignment]:
        """Returns where the model looks in texts that it did not train on."""
        return _alignments(model, params, data.saved)

    def translator(
        self, options: Any, model: Any, params: Params, saved: dict[str, Any]
    ) -> Translator:
        """Returns the model as a network that reads a date in the page."""
        texts = [text for text, _ in saved["examples"]]

        def answer(source: Array, length: Array) -> tuple[Array, Array]:
            row, lengths = source[None], length[None]
            found = model.generate(params, row, WIDTH, lengths=lengths)
            return found[0], look(model, params, row, lengths, found)[0]

        return Translator(
            answer=answer,
            width=LONGEST,
            symbols=views.names(Vocabulary.from_json(saved["vocabulary"])),
            padding=0,
            answers=list(SYMBOLS),
            end=None,
            examples=texts,
        )

    def show(
        self, model: Any, params: Params, saved: dict[str, Any], seed: int, short: bool
    ) -> str:
        """Returns held-out texts with their dates, and where the model looks."""
        lines, shown = [], _alignments(model, params, saved)
        for found, (_, date) in zip(shown, saved["examples"], strict=True):
            answer = "".join(found.target)
            mark = "right" if answer == date else f"wrong, {date}"
            lines.append(f"{''.join(found.source)} = {answer}   ({mark})")
        pictures = [_picture(one) for one in shown[: 0 if short else 2]]
        return "\n\n".join(["\n".join(lines[:3] if short else lines), *pictures])


def look(
    model: Any, params: Params, source: Array, lengths: Array, target: Array
) -> Array:
    """Returns the weights of the source for each symbol of a target, [rows, T, S]."""
    decoder, state = model.encode(params, source, lengths=lengths)
    *below, attention, _ = model.decoder.layers
    given = jnp.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=START)
    _, queries = jrnn.Sequential(*below).apply(decoder[:-2], state[:-2], given)
    return attention.weights(decoder[-2], queries)


def by_numbers(text: str) -> str:
    """Returns the date that the numbers in a text say, and month 1 if it is a word.

    Example:
      >>> by_numbers("3/4/07"), by_numbers("2007. április 3."), by_numbers("3 mai 2007")
      ('2007-04-03', '2007-01-03', '2007-01-03')
    """
    numbers = re.findall(r"\d+", text)
    if len(numbers[0]) < 4:
        numbers.reverse()
    year, *others = map(int, numbers)
    month, day = [1, *others][-2:]
    year += 0 if year >= 100 else 1900 if year >= FIRST.year % 100 else 2000
    return f"{year}-{month:02}-{day:02}"


def _written(days: np.ndarray, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Returns days as text, each in a random language and format, and in ISO 8601."""
    try:
        from babel.dates import format_date  # noqa: PLC0415  optional
    except ImportError:
        raise UserError("this task needs Babel: `pip install babel`.") from None
    written = []
    for day in days.tolist():
        date = FIRST + datetime.timedelta(day)
        how, where = rng.choice(FORMATS), rng.choice(LOCALES)
        text = format_date(date, str(how), locale=str(where))
        written.append((text, date.isoformat()))
    return written


def _arrays(written: list[tuple[str, str]], vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the ids of texts and dates, and where the year begins, or -1."""
    source, lengths = pad([vocabulary.encode(text) for text, _ in written])
    target = [[SYMBOLS.index(c) for c in date] for _, date in written]
    return {
        "source": source,
        "lengths": lengths,
        "target": np.array(target, np.int32),
        "year": np.array([text.find(date[:4]) for text, date in written], np.int32),
    }


def _alignments(model: Any, params: Params, saved: dict[str, Any]) -> list[Alignment]:
    texts = [text for text, _ in saved["examples"]]
    vocabulary = Vocabulary.from_json(saved["vocabulary"])
    source, lengths = map(jnp.asarray, pad([vocabulary.encode(text) for text in texts]))
    target = model.generate(params, source, WIDTH, lengths=lengths)
    weights = look(model, params, source, lengths, target)
    return [
        Alignment(
            source=list(text),
            target=[SYMBOLS[i] for i in ids],
            weights=weights[row, :, : len(text)],
            about="weights of the attention",
        )
        for row, (text, ids) in enumerate(zip(texts, target.tolist(), strict=True))
    ]


def _picture(one: Alignment) -> str:
    """Returns a row of shades for each symbol of the target."""
    lines = ["   " + "".join(one.source)]
    for symbol, row in zip(one.target, np.asarray(one.weights), strict=True):
        shades = (row * (len(SHADES) - 0.01)).astype(int)
        lines.append(f" {symbol} " + "".join(SHADES[n] for n in shades))
    return "\n".join(lines)


TASK = Dates()
