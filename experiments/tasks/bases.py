"""Bases of tasks that draw examples, or generate them."""

import abc
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.run.task import Data, Progress, Score, Task, row_keys
from experiments.tasks import parts, views
from jrnn import training
from jrnn.types import Array, Params, PRNGKey, State


class Examples(Task):
    """A task whose batches are drawn from `Data.arrays`, [examples, ...]."""

    def batch(self, options: Any, arrays: Any, step: Array, rows: Array) -> Any:
        """Draws examples, with replacement."""
        return parts.draw(options, arrays, step, rows)


class Generated(Task):
    """A task whose examples are generated, new ones in every update.

    The model maps the inputs of a sequence to outputs.
    """

    @abc.abstractmethod
    def example(self, options: Any, key: PRNGKey) -> tuple[Array, Array]:
        """Returns the inputs and the targets of one sequence."""

    @abc.abstractmethod
    def figures(self, options: Any, outputs: Array, targets: Array) -> dict[str, Array]:
        """Returns figures of each row, [rows]; their means are the score."""

    @abc.abstractmethod
    def words(self, options: Any, figures: dict[str, float]) -> str:
        """Returns a score in words."""

    @abc.abstractmethod
    def size(self, options: Any) -> str:
        """Returns the size of a sequence in words."""

    @abc.abstractmethod
    def baseline(self, options: Any, targets: Any) -> tuple[str, dict[str, float]]:
        """Returns the best guess without memory, and its figures."""

    def errors(self, outputs: Array, targets: Array) -> Array:
        """Returns the loss of each row [rows]: the mean cross-entropy of its steps."""
        return jax.vmap(training.cross_entropy)(outputs, targets)

    def scored(self, options: Any) -> Any:
        """Returns the options of held-out examples, which may be longer."""
        return options

    def load(self, options: Any) -> Data:
        """Makes held-out sequences; those to train on are made in every update."""
        keys = jax.random.split(jax.random.key(2**31 - 1), options.examples)
        make = functools.partial(self.example, self.scored(options))
        held_out = jax.tree.map(np.asarray, jax.jit(jax.vmap(make))(keys))
        guess, figures = self.baseline(options, held_out[1])
        return Data(
            name=f"generated, {self.size(options)}",
            facts={},
            saved={},
            arrays=(),
            held_out=held_out,
            about={"baseline": f"{self.words(options, figures)}, {guess}"},
            baselines={guess: figures},
        )

    def batch(self, options: Any, arrays: Any, step: Array, rows: Array) -> Any:
        """Makes new sequences."""
        del arrays
        keys = row_keys(options, step, rows)
        return jax.vmap(functools.partial(self.example, options))(keys)

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean error."""
        inputs, targets = batch
        outputs = model.apply(params, None, inputs, key=key)[1]
        return jnp.mean(self.errors(outputs, targets)), state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns the figures of the held-out sequences."""

        @jax.jit
        def values(batch: Any) -> dict[str, Array]:
            inputs, targets = batch
            outputs = model.apply(params, None, inputs)[1]
            return self.figures(options, outputs, targets)

        figures = parts.mean_over_examples(values, data.held_out, progress)
        return Score(figures, self.words(options, figures))

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array:
        """Returns how much the last answer depends on each earlier step."""
        inputs, targets = data.held_out
        return views.by_lag(model, params, inputs, targets[:, -1])
