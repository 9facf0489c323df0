"""The adding problem: the sum of two marked numbers in a long sequence [1].

The network reads pairs of a uniform number and a mark, and outputs one number at the
end. To output 1, the mean of the sum, gives a squared error of 1/6 = 0.167.

[1] Hochreiter and Schmidhuber, 1997, https://doi.org/10.1162/neco.1997.9.8.1735
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.run import models
from experiments.run.options import Options
from experiments.run.task import Data, Goal
from experiments.tasks import views
from experiments.tasks.bases import Generated
from jrnn import training
from jrnn.types import Array, Params, PRNGKey


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddingOptions(Options):
    """Options of adding.

    Attributes:
      length: Number of time steps.
      examples: Number of held-out sequences to score.
    """

    length: int = 200
    examples: int = 1000
    cell: str = "gru"
    hidden_size: int = 64
    batch_size: int = 50
    learning_rate: float = 4e-3

    UPDATES = 2000
    AT_LEAST = Options.AT_LEAST | {"length": 2, "examples": 1}


class Adding(Generated):
    """The sum of two marked numbers, many steps later."""

    name = "adding"
    about = "the sum of two marked numbers in a long sequence"
    options = AddingOptions
    unit = "squared error"
    input_size = 2

    def size(self, options: AddingOptions) -> str:
        """Returns the number of steps."""
        return f"{options.length} steps"

    def baseline(self, options: Any, targets: Any) -> tuple[str, dict[str, float]]:
        """Returns the error of the mean of all sums."""
        return "to output 1", {"squared_error": float(np.mean((targets - 1) ** 2))}

    def goals(self, options: AddingOptions, data: Data) -> list[Goal]:
        """Gated cells solve it; an Elman network is known to stay at the baseline."""
        del data
        reached = options.cell != "elman"
        return [Goal("squared_error", 1e-3, "solved")] if reached else []

    def model(self, options: AddingOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns recurrent layers, the last step, and one output."""
        del saved
        return jrnn.Sequential(*models.recurrent(options, last=True), jrnn.Dense(1))

    def example(self, options: AddingOptions, key: PRNGKey) -> tuple[Array, Array]:
        """Returns a sequence [length, 2], with one mark in each half, and its sum."""
        keys = jax.random.split(key, 3)
        values = jax.random.uniform(keys[0], (options.length,), jnp.float32)
        half = options.length // 2
        first = jax.random.randint(keys[1], (), 0, half)
        second = jax.random.randint(keys[2], (), half, options.length)
        marks = jnp.zeros(options.length, jnp.float32)
        marks = marks.at[jnp.stack([first, second])].set(1.0)
        return jnp.stack([values, marks], axis=-1), values[first] + values[second]

    def errors(self, outputs: Array, targets: Array) -> Array:
        """Returns squared errors [rows]."""
        return (outputs[..., 0] - targets) ** 2

    def figures(self, options: Any, outputs: Array, targets: Array) -> dict[str, Array]:
        """Returns the squared error."""
        return {"squared_error": self.errors(outputs, targets)}

    def words(self, options: AddingOptions, figures: dict[str, float]) -> str:
        """Returns the squared error in words."""
        return f"squared error {figures['squared_error']:.2g}"

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array:
        """Returns how much the sum depends on each step, the last one first."""
        xs, targets = data.held_out
        return views.by_lag(model, params, xs, targets[:, None], training.squared_error)


TASK = Adding()
