"""The protocol of a task: the methods to write in order to add one."""

import abc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from experiments.errors import UserError
from experiments.run import models
from experiments.run.options import Options
from jrnn.types import Array, Cell, Params, PRNGKey, State

Progress = Callable[[float], Any]  # takes the fraction that is done


class Stream(abc.ABC):
    """Training data that does not fit in memory; batches are read on the host."""

    @abc.abstractmethod
    def batches(self, options: Any, first: int, number: int) -> Any:
        """Returns the batches of several steps, a function of seed and step.

        Args:
          options: The recipe.
          first: The number of updates before the first batch.
          number: The number of batches.

        Returns:
          A tree of numpy arrays [number, batch_size, ...].

        Raises:
          UserError: If the data cannot be read any more.
        """


class Data(NamedTuple):
    """What a task trains on.

    `saved` is stored in the folder of the run, and is all of the data that the model
    and its samples need: a run can be sampled without the files it was trained on.
    """

    name: str  # shown to the user
    facts: dict[str, Any]  # plain values that identify the data; equal to resume
    saved: dict[str, Any]  # plain values, such as a vocabulary
    arrays: Any  # what batches are made of, copied to every device; or a `Stream`
    held_out: Any = None  # what is scored
    about: dict[str, str] = {}  # lines to print
    # Scores that need no training, by name.
    baselines: dict[str, dict[str, float]] = {}


class Score(NamedTuple):
    """Scores of a model by name, the main one first."""

    figures: dict[str, float]
    words: str  # in a sentence, such as "1.90 bits per character"


class Goal(NamedTuple):
    """The target of a score, such as a published result."""

    figure: str  # its name in the score
    bound: float
    source: str  # in words, such as "published, Keras 2015"


class Reading(NamedTuple):
    """A held-out text as a model reads it, for the report."""

    tokens: list[str]  # [T]
    logits: Array  # [T, symbols] about the answer to each token
    answers: Array  # [T] integers: the token itself, or its label
    symbols: list[str]  # what an answer may be
    layers: dict[str, Array]  # outputs of recurrent layers after each token, [T, units]


class Alignment(NamedTuple):
    """What each symbol of an answer depends on, for the report."""

    source: list[str]  # [S]
    target: list[str]  # [T]
    weights: Array  # [T, S], at least zero
    about: str  # what the weights are, in words


class Generator(NamedTuple):
    """A network that generates symbols, one at a time, for the report."""

    step: Callable[[State, Array], tuple[State, Array]]  # id -> logits [symbols]
    starts: dict[str, State]  # states to start from, by name
    symbols: list[str]
    unit: str  # what a symbol is: characters or words, as in jrnn.text
    prime: list[int]  # ids to read first, if the user gives none
    banned: list[int]  # ids that are never written
    end: int | None  # the id that ends a text


class Translator(NamedTuple):
    """A network that maps a text to a text, for the report.

    `answer` takes ids [width] and the number of valid ids. It returns the ids of the
    answer [T] and, if the network has attention, its weights [T, width].
    """

    answer: Callable[[Array, Array], tuple[Array, ...]]
    width: int  # the longest text
    symbols: list[str]  # of a text
    padding: int  # the id after the end of a text
    answers: list[str]  # symbols of an answer
    end: int | None  # the id that ends an answer
    examples: list[str]
    backwards: bool = False  # whether a text is read from its end to its beginning


class Task(abc.ABC):
    """An experiment: data, model, loss and score.

    `experiments.run` does the rest: updates on one or more devices, checkpoints,
    resuming, signals, progress. Batches are a function of the options and the step
    number, so a resumed run equals a run without interruption.
    """

    name: ClassVar[str]  # as on the command line
    about: ClassVar[str]  # one line of help
    options: ClassVar[type[Options]]
    unit: ClassVar[str]  # of the loss, such as "nats/char"
    lower_is_better: ClassVar[bool] = True  # of the main figure of the score
    input_size: ClassVar[int] = 0  # features of a step of the input; 0 for integers

    presets: ClassVar[dict[str, dict[str, Any]]] = {}  # options by the name of --preset

    @abc.abstractmethod
    def load(self, options: Any) -> Data:
        """Reads or makes the data.

        Raises:
          UserError: If it cannot be used.
        """

    @abc.abstractmethod
    def model(self, options: Any, saved: dict[str, Any]) -> Any:
        """Returns a model, usually a layer."""

    def cell(self, options: Any) -> Cell:
        """Returns the recurrent cell of the model, in its wrappers."""
        return models.make_cell(options)

    @abc.abstractmethod
    def batch(self, options: Any, arrays: Any, step: Array, rows: Array) -> Any:
        """Returns the given rows of the batch of a step. It is compiled.

        Args:
          options: The recipe.
          arrays: `Data.arrays`. This method is not called if they are a `Stream`.
          step: The number of updates before this one.
          rows: Integers [rows], which rows of the batch this device computes.
        """

    @abc.abstractmethod
    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean loss of a batch, and the state to carry to the next one."""

    def weight(self, batch: Any) -> Array | int:
        """Returns the number of values over which the loss of a batch is averaged.

        If the batch is split over devices, their losses are averaged with these
        weights. The default is the number of rows.
        """
        return len(jax.tree.leaves(batch)[0])

    @abc.abstractmethod
    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Scores held-out data, the same for the same parameters."""

    def other(self, data: Data, file: Path) -> Data:
        """Returns data to score a model on another text; `data` has no arrays.

        Raises:
          UserError: If the task is not about texts.
        """
        del data
        raise UserError(
            f"the task {self.name} cannot score a text such as {file}: omit --text."
        )

    def init(self, model: Any, key: PRNGKey) -> Params:
        """Draws the parameters of the model, in float32 for every process to read."""
        size = (self.input_size,) if self.input_size else ()
        return model.init(key, *size, dtype=jnp.float32)

    def initial_state(self, options: Any, model: Any, params: Params) -> State:
        """Returns the state that updates carry, [batch_size, ...]; () for none."""
        del options, model, params
        return ()

    def goals(self, options: Any, data: Data) -> list[Goal]:
        """Returns the targets of a run with these options; `data` has no arrays."""
        del options, data
        return []

    def is_random(self, options: Any) -> bool:
        """Whether the loss needs a key."""
        return bool(options.dropout)

    def glance(self, options: Any, model: Any, params: Params, data: Data) -> Score:
        """Returns a fast estimate of the score."""
        return self.score(options, model, params, data, lambda fraction: None)

    def show(
        self, model: Any, params: Params, saved: dict[str, Any], seed: int, short: bool
    ) -> str:
        """Returns a sample or an answer of the model as text; empty for none."""
        del model, params, saved, seed, short
        return ""

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array | None:
        """Returns norms of the gradient of the loss at the last step, [lags].

            G[lag] = || d loss_T / d x_T-lag ||

        It is recorded during training; None for tasks to which it does not apply.
        """
        del options, model, params, data
        return None

    def reading(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Reading | None:
        """Returns a held-out text as the model reads it; None if there is no text."""
        del options, model, params, data
        return None

    def alignments(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> list[Alignment]:
        """Returns what the answers to a few held-out examples depend on."""
        del options, model, params, data
        return []

    def generator(
        self, options: Any, model: Any, params: Params, saved: dict[str, Any]
    ) -> Generator | None:
        """Returns a network that writes symbols; None if the task has none."""
        del options, model, params, saved
        return None

    def translator(
        self, options: Any, model: Any, params: Params, saved: dict[str, Any]
    ) -> Translator | None:
        """Returns a network that answers texts; None if the task has none."""
        del options, model, params, saved
        return None

    def program(
        self,
        model: Any,
        params: Params,
        saved: dict[str, Any],
        batch: Any,
        time: Any,
    ) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        """Returns a function of arrays to export, and the shapes of its arguments.

        A model that is a layer does not need one. `batch` and `time` are symbolic
        sizes.
        """
        del model, params, saved, batch, time
        return None

    def describe(self, options: Any) -> str:
        """Returns the model in words."""
        return (
            f"{options.layers} x {options.cell.upper()} of {options.hidden_size} units"
        )


def row_keys(options: Any, step: Array, rows: Array) -> PRNGKey:
    """Returns one key for each row of a batch: a function of seed, step and row."""
    key = jax.random.fold_in(jax.random.key(options.seed), step)
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(rows)
