"""Names, character by character: one to many.

A category, such as a language, becomes the initial state of a network that writes a
name. The default data are person names of several languages from the package Faker; a
file with one name per line makes an unconditional model. A name ends with a symbol that
is predicted and counted like a character.
"""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jrnn
from experiments.errors import UserError
from experiments.run import models
from experiments.run.options import Options
from experiments.run.task import Data, Generator, Goal, Progress, Reading, Score
from experiments.tasks import corpus, parts, views
from experiments.tasks.bases import Examples
from jrnn import training
from jrnn.sequences import pad
from jrnn.text import Vocabulary
from jrnn.types import Array, DType, Params, PRNGKey, State

LOCALES = ("de_DE", "en_US", "es_ES", "fi_FI", "fr_FR", "it_IT", "nl_NL", "pl_PL")
PER_LOCALE = 2000
END = 1  # the id of the end; a name begins with the end of another
READ = 500  # names that the report reads


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamesOptions(Options):
    """Options of names.

    Attributes:
      text: UTF-8 file with one name per line. Default: names of several languages.
      embedding_size: Features of the embedding of a character.
      held_out: One name in this many is held out and scored.
    """

    text: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    embedding_size: int = 32
    held_out: int = 10
    dropout: float = 0.3
    batch_size: int = 128
    learning_rate: float = 3e-3

    UPDATES = 2000
    FREE = Options.FREE | {"text"}
    AT_LEAST = Options.AT_LEAST | {"embedding_size": 1, "held_out": 2}


class Names(Examples):
    """A name of a category, character by character."""

    name = "names"
    about = "names of several languages, from a category"
    options = NamesOptions
    unit = "nats/char"

    def load(self, options: NamesOptions) -> Data:
        """Reads the names; each one is used once."""
        source, names = _faker() if options.text is None else _lines(options.text)
        texts = [text for some in names.values() for text in some]
        labels = [n for n, some in enumerate(names.values()) for _ in some]
        vocabulary = Vocabulary.build(texts)
        ids, lengths = pad([vocabulary.encode(text, end=True) for text in texts])
        arrays = {
            "ids": ids,
            "lengths": lengths,
            "category": np.array(labels, np.int32),
        }
        held = max(1, len(texts) // options.held_out)
        train, held_out = parts.split_examples(arrays, held, seed=0)
        counts = np.bincount(_written(train), minlength=len(vocabulary))
        frequent = parts.frequency_nats(counts, _written(held_out))
        return Data(
            name=source,
            facts={"sha256": parts.fingerprint([train, held_out])},
            saved={"vocabulary": vocabulary.to_json(), "categories": [*names]},
            arrays=train,
            held_out=held_out,
            about={
                "names": f"{len(texts) - held} to train on, {held} held out",
                "categories": ", ".join(names),
            },
            baselines={"character frequencies": {"held_out_nats": frequent}},
        )

    def goals(self, options: NamesOptions, data: Data) -> list[Goal]:
        """Returns a target for a known file of English first names."""
        del data
        known = options.text is not None and options.text.name == "names.txt"
        return [Goal("held_out_nats", 2.0, "a 5-gram: 2.042")] if known else []

    def model(self, options: NamesOptions, saved: dict[str, Any]) -> Any:
        """Returns a character model whose state starts from a category."""
        symbols = len(Vocabulary.from_json(saved["vocabulary"]))
        writer = jrnn.Sequential(
            jrnn.Embed(symbols, options.embedding_size),
            *models.recurrent(options),
            jrnn.Dense(symbols),
        )
        return Conditional(writer, len(saved["categories"]))

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean negative log-likelihood of a character, in nats."""
        logits, mask = model.read(params, batch, key)
        return training.cross_entropy(logits, batch["ids"], mask), state

    def weight(self, batch: Any) -> Array:
        """Returns the number of characters."""
        return jnp.sum(batch["lengths"])

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns the loss per character of held-out names, the end included."""

        @jax.jit
        def values(batch: Any) -> Any:
            logits, mask = model.read(params, batch, None)
            loss = jax.vmap(training.cross_entropy)(logits, batch["ids"], mask)
            return loss * batch["lengths"]

        total = parts.mean_over_examples(values, data.held_out, progress)
        nats = total / float(np.mean(data.held_out["lengths"]))
        figures = {"held_out_nats": nats, "held_out_bits": nats / math.log(2)}
        return Score(figures, f"{nats:.4f} nats per character")

    def program(
        self, model: Any, params: Params, saved: Any, batch: Any, time: Any
    ) -> Any:
        """Returns the logits after each character of names, from their categories."""
        del saved

        def logits(category: Array, ids: Array) -> Array:
            state = model.start(params, category)
            return model.writer.apply(params["writer"], state, ids)[1]

        shapes = (batch,), (batch, time)
        return logits, tuple(jax.ShapeDtypeStruct(s, jnp.int32) for s in shapes)

    def show(
        self, model: Any, params: Params, saved: dict[str, Any], seed: int, short: bool
    ) -> str:
        """Returns names of every category."""
        vocabulary = Vocabulary.from_json(saved["vocabulary"])
        categories, each = saved["categories"], 3 if short else 6
        labels = jnp.repeat(jnp.arange(len(categories)), each)
        ids = model.write(params, labels, 40, END, jax.random.key(seed))
        texts = [vocabulary.decode(row) for row in np.asarray(ids)]
        return "\n".join(
            f"{category}: {', '.join(texts[n * each : (n + 1) * each])}"
            for n, category in enumerate(categories)
        )

    def reading(self, options: Any, model: Any, params: Params, data: Data) -> Reading:
        """Returns how the model reads held-out names, each from its category."""
        symbols = views.names(Vocabulary.from_json(data.saved["vocabulary"]))
        some = jax.tree.map(lambda a: a[:READ], data.held_out)
        valid = np.arange(some["ids"].shape[1]) < some["lengths"][:, None]
        given = np.pad(some["ids"], ((0, 0), (1, 0)), constant_values=END)
        state = model.start(params, some["category"])
        layers: dict[str, Array] = {}
        logits = views.outputs(
            model.writer, params["writer"], state, jnp.asarray(given), layers
        )
        ids = some["ids"][valid]
        return Reading(
            tokens=[symbols[i] for i in ids.tolist()],
            logits=logits[:, :-1][valid],
            answers=jnp.asarray(ids),
            symbols=symbols,
            layers={name: ys[:, 1:][valid] for name, ys in layers.items()},
        )

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array:
        """Returns how much a character of the longest names depends on those before."""
        ids, lengths, categories = (
            data.held_out[name] for name in ("ids", "lengths", "category")
        )
        longest = np.argsort(-lengths, kind="stable")[: views.ROWS]
        size = int(lengths[longest[-1]])
        given = np.pad(ids[longest, : size - 1], ((0, 0), (1, 0)), constant_values=END)
        state = model.start(params, categories[longest])
        answers, inner = ids[longest, size - 1], params["writer"]
        return views.by_lag(model.writer, inner, given, answers, state=state)

    def generator(
        self, options: Any, model: Any, params: Params, saved: dict[str, Any]
    ) -> Generator:
        """Returns the model as a network that writes names of a category."""
        vocabulary = Vocabulary.from_json(saved["vocabulary"])
        starts = {
            category: model.start(params, jnp.array([n]))
            for n, category in enumerate(saved["categories"])
        }
        return views.writer(model.writer, params["writer"], vocabulary, starts, END)


@jrnn.value
class Conditional:
    """A character model whose initial state is a function of a category."""

    writer: jrnn.Sequential
    categories: int

    def init(self, key: PRNGKey, dtype: DType = float) -> dict[str, Params]:
        """Draws the parameters of the model and of the function."""
        keys = jax.random.split(key)
        writer = self.writer.init(keys[0], dtype=dtype)
        bridge = jrnn.Bridge(self.writer).init(keys[1], self.categories, writer, dtype)
        return {"writer": writer, "bridge": bridge}

    def start(self, params: dict[str, Params], category: Array) -> State:
        """Returns the state before a name of a category."""
        x = jax.nn.one_hot(category, self.categories, dtype=jnp.float32)
        return jrnn.Bridge(self.writer).apply(params["bridge"], params["writer"], x)

    def read(
        self, params: dict[str, Params], batch: Any, key: PRNGKey | None
    ) -> tuple[Array, Array]:
        """Returns the logits of each character from those before, and which count."""
        ids = batch["ids"]
        given = jnp.pad(ids[:, :-1], ((0, 0), (1, 0)), constant_values=END)
        state = self.start(params, batch["category"])
        _, logits = self.writer.apply(params["writer"], state, given, key=key)
        return logits, jnp.arange(ids.shape[1]) < batch["lengths"][:, None]

    def write(
        self,
        params: dict[str, Params],
        category: Array,
        length: int,
        end: int,
        key: PRNGKey,
    ) -> Array:
        """Returns the ids of names of categories."""
        state = self.start(params, category)
        prime = jnp.full((len(category), 1), end)
        given: Any = {"key": key, "end": end, "temperature": 0.8}
        return jrnn.generate(
            self.writer, params["writer"], state, prime, length, **given
        )[1]


def _written(names: Any) -> np.ndarray:
    """Returns the ids of all names, without padding."""
    ids = names["ids"]
    return ids[np.arange(ids.shape[1]) < names["lengths"][:, None]]


def _lines(path: Path) -> tuple[str, dict[str, list[str]]]:
    """Returns the names of a file, as one category."""
    name, text = corpus.read_text(path)
    lines = dict.fromkeys(line.strip() for line in text.splitlines())
    names = [line for line in lines if line]
    if len(names) < 2:
        raise UserError(
            f"{path} contains only {len(names)} names, too few to train on."
        )
    return name, {"all": names}


def _faker() -> tuple[str, dict[str, list[str]]]:
    """Returns names of several languages, each once in its language."""
    try:
        from faker import Faker  # noqa: PLC0415  optional
    except ImportError:
        raise UserError(
            "this task needs Faker: `pip install faker`. Or pass names with --text."
        ) from None
    names = {}
    for locale in LOCALES:
        fake = Faker(locale)
        fake.seed_instance(0)
        some = (f"{fake.first_name()} {fake.last_name()}" for _ in range(PER_LOCALE))
        names[locale.split("_")[0]] = sorted(set(some))
    return f"names of {len(names)} languages, from Faker", names


TASK = Names()
