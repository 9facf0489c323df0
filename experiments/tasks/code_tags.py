"""Tags of Python source code: what each character belongs to, many to many.

The texts are modules of the standard library of the running interpreter, and the
tags are those of its own module `tokenize`: keyword, name, number, string, comment,
operator, or space. Layers read in both directions. Modules that are scored do not occur
in training. The baseline gives each character its most frequent tag.
"""

import dataclasses
import platform
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
from experiments.run.task import Data, Goal, Progress, Reading, Score, Task, row_keys
from experiments.tasks import library, parts, views
from experiments.tasks.library import SIGNS, TAGS
from jrnn import training
from jrnn.text import UNK, Vocabulary
from jrnn.types import Array, Params, PRNGKey, State

MAX_SYMBOLS = 256  # rarer characters become <unk>


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodeOptions(Options):
    """Options of code_tags.

    Attributes:
      folder: Folder of Python files. Default: the standard library.
      length: Characters of a window in training.
      embedding_size: Features of the embedding of a character.
      held_out: One module in this many is held out and scored.
      score: Largest number of held-out characters to score.
    """

    folder: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    length: int = 256
    embedding_size: int = 32
    held_out: int = 10
    score: int = 200_000
    cell: str = "gru"
    hidden_size: int = 96
    batch_size: int = 32
    learning_rate: float = 4e-3

    UPDATES = 400
    FREE = Options.FREE | {"folder", "score"}
    AT_LEAST = Options.AT_LEAST | {
        "length": 4,
        "embedding_size": 1,
        "held_out": 2,
        "score": 1,
    }


class CodeTags(Task):
    """What each character of Python source code belongs to."""

    name = "code_tags"
    about = "what each character of Python source code belongs to"
    options = CodeOptions
    unit = "nats/char"
    lower_is_better = False

    def load(self, options: CodeOptions) -> Data:
        """Reads and tags the modules; the vocabulary is that of those to train on."""
        modules = library.modules(options.folder)
        order = np.random.default_rng(0).permutation(len(modules))
        border = max(1, len(modules) // options.held_out)
        scored, train = (
            [modules[n] for n in some] for some in (order[:border], order[border:])
        )
        vocabulary = Vocabulary.build(
            (text for text, _ in train), limit=MAX_SYMBOLS, specials=(UNK,)
        )
        arrays, held_out = (_joined(some, vocabulary) for some in (train, scored))
        if arrays.shape[1] <= options.length:
            raise UserError(
                f"there are only {arrays.shape[1]} characters to train on, too few "
                f"for --length {options.length}: lower it, or pass a larger --folder."
            )
        ids, tags = held_out[:, : options.score]
        known = float(np.mean(guess_by_character(arrays, ids) == tags))
        library_of = f"the standard library of Python {platform.python_version()}"
        return Data(
            name=library_of if options.folder is None else str(options.folder),
            facts={"sha256": parts.fingerprint([arrays, held_out])},
            saved={"vocabulary": vocabulary.to_json()},
            arrays=arrays,
            held_out=held_out,
            about={
                "characters": f"{arrays.shape[1]:,} of {len(train)} modules to train "
                f"on, {held_out.shape[1]:,} of {len(scored)} modules held out",
                "baseline": f"{known:.2%} right, with one tag for each character",
            },
            baselines={"one tag for each character": {"accuracy": known}},
        )

    def goals(self, options: CodeOptions, data: Data) -> list[Goal]:
        """Returns a target."""
        del options, data
        return [Goal("accuracy", 0.99, "target")]

    def model(self, options: CodeOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns an embedding, layers of both directions, and the tags."""
        return jrnn.Sequential(
            jrnn.Embed(
                len(Vocabulary.from_json(saved["vocabulary"])), options.embedding_size
            ),
            *models.recurrent(options, both=True),
            jrnn.Dense(len(TAGS)),
        )

    def batch(self, options: Any, arrays: Array, step: Array, rows: Array) -> Any:
        """Draws windows of the text: characters and tags, each [rows, length]."""
        last = arrays.shape[1] - options.length

        def window(key: PRNGKey) -> Array:
            first = jax.random.randint(key, (), 0, last + 1)
            return jax.lax.dynamic_slice_in_dim(arrays, first, options.length, axis=1)

        found = jax.vmap(window)(row_keys(options, step, rows))
        return found[:, 0], found[:, 1]

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean cross-entropy of the tags."""
        ids, tags = batch
        _, logits = model.apply(params, None, ids, key=key)
        return training.cross_entropy(logits, tags), state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns how many held-out characters get the right tag.

        The text is read in overlapping windows, and each character is scored in one
        where it has at least half a window of context on both sides.
        """
        held_out, size = data.held_out[:, : options.score], options.length
        windows = np.stack([overlapping(row, size) for row in held_out], axis=1)
        valid = np.arange(len(windows) * size).reshape(-1, size) < held_out.shape[1]

        @jax.jit
        def values(batch: Any) -> dict[str, Array]:
            (read, counted), middle = batch, slice(size // 2, size // 2 + size)
            _, logits = model.apply(params, None, read[:, 0])
            right = jnp.argmax(logits[:, middle], axis=-1) == read[:, 1, middle]
            losses = jax.vmap(training.cross_entropy)(
                logits[:, middle], read[:, 1, middle], counted
            )
            count = jnp.sum(counted, axis=-1)
            return {
                "accuracy": jnp.sum(right & counted, axis=-1),
                "nats": losses * count,
                "count": count,
            }

        sums = parts.mean_over_examples(values, (windows, valid), progress, size=64)
        count = sums.pop("count")
        figures = {name: value / count for name, value in sums.items()}
        return Score(figures, f"{figures['accuracy']:.2%} of the characters right")

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array | None:
        """Returns how much a tag depends on the characters before it.

        The model also reads as many characters after it.
        """
        size = 2 * views.LAGS - 1
        ids, tags = data.held_out
        if len(ids) < size + views.ROWS:
            return None
        starts = np.linspace(0, len(ids) - size, views.ROWS).astype(int)
        windows = np.stack([ids[n : n + size] for n in starts])
        after = views.LAGS - 1
        answers = tags[starts + after]
        return views.by_lag(model, params, windows, answers, after=after)

    def reading(self, options: Any, model: Any, params: Params, data: Data) -> Reading:
        """Returns how the model tags the beginning of the held-out modules."""
        vocabulary = Vocabulary.from_json(data.saved["vocabulary"])
        ids, tags = data.held_out[:, :2048]
        layers: dict[str, Array] = {}
        logits = views.outputs(model, params, None, jnp.asarray(ids[None]), layers)
        symbols = views.names(vocabulary)
        return Reading(
            tokens=[symbols[i] for i in ids.tolist()],
            logits=logits[0],
            answers=jnp.asarray(tags),
            symbols=list(TAGS),
            layers={name: ys[0] for name, ys in layers.items()},
        )

    def show(
        self, model: Any, params: Params, saved: dict[str, Any], seed: int, short: bool
    ) -> str:
        """Returns lines of code, and the sign of the tag below each character."""
        text = SHORT if short else SHORT + LONG
        ids = Vocabulary.from_json(saved["vocabulary"]).encode(text)
        _, logits = model.apply(params, None, jnp.asarray(ids[None]))
        signs = "".join(SIGNS[n] for n in jnp.argmax(logits[0], -1).tolist())
        pairs = [f"{sign} {tag}" for sign, tag in zip(SIGNS, TAGS, strict=True)]
        lines, first = [", ".join(pairs[1:])], 0
        for line in text.splitlines(keepends=True):
            lines += [line.rstrip(), signs[first : first + len(line)].rstrip()]
            first += len(line)
        return "\n".join(lines)


SHORT = '''\
def area(radius=2.5e0):  # of a circle
    """The area, not the "length"."""
    return math.pi * radius ** 2 if radius else None
'''
LONG = """
class Point:
    names = {'x': 0, "y": 1, "a # b": None}  # it's a "point"

    def __init__(self, *values):
        self.is_near = all(v < 1_000 for v in values) and not 0x1F
"""


def guess_by_character(train: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Returns the most frequent tag of each character of a text.

    Args:
      train: Integers [2, characters], with their tags.
      text: Integers [characters].

    Example:
      >>> guess_by_character(np.array([[3, 3, 3, 1], [2, 2, 5, 4]]), np.array([1, 3]))
      array([4, 2])
    """
    counts = np.zeros((max(train[0].max(), text.max()) + 1, len(TAGS)), np.int64)
    np.add.at(counts, (train[0], train[1]), 1)
    return counts.argmax(axis=-1)[text]


def overlapping(text: np.ndarray, size: int) -> np.ndarray:
    """Returns windows of `2 size` characters, the middles of which make up a text.

    The windows are padded with zeros where they exceed the text.

    Example:
      >>> overlapping(np.arange(1, 6), 4)
      array([[0, 0, 1, 2, 3, 4, 5, 0],
             [3, 4, 5, 0, 0, 0, 0, 0]])
    """
    number = -(-len(text) // size)
    before = size // 2
    padded = np.pad(text, (before, (number + 1) * size - before - len(text)))
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * size)[::size]


def _joined(modules: Any, vocabulary: Vocabulary) -> np.ndarray:
    """Returns the ids and the tags of modules, one after the other, [2, characters]."""
    texts, tags = zip(*modules, strict=True)
    return np.stack([vocabulary.encode("".join(texts)), np.concatenate(tags)])


TASK = CodeTags()
