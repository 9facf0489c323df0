"""Parity: whether the number of ones so far is odd, at every step.

A linear recurrence whose gates depend only on the input cannot learn this for all
lengths [1]: on sequences longer than those in training, only half of its answers are
right. Nonlinear recurrent networks can learn it.

[1] Merrill et al., 2024, https://arxiv.org/abs/2404.08819
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

import jrnn
from experiments.run import models
from experiments.run.options import Options
from experiments.run.task import Data, Goal
from experiments.tasks.bases import Generated
from jrnn import forms
from jrnn.types import Array, PRNGKey


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParityOptions(Options):
    """Options of parity.

    Attributes:
      length: Number of time steps in training.
      unseen: Number of time steps in the score.
      examples: Number of held-out sequences to score.
    """

    length: int = 40
    unseen: int = 256
    examples: int = 500
    hidden_size: int = 32
    learning_rate: float = 3e-3

    UPDATES = 600
    AT_LEAST = Options.AT_LEAST | {"length": 1, "unseen": 1, "examples": 1}


class Parity(Generated):
    """Whether the number of ones so far is odd."""

    name = "parity"
    about = "whether the number of ones so far is odd, at unseen lengths"
    options = ParityOptions
    unit = "nats/step"
    lower_is_better = False

    def size(self, options: ParityOptions) -> str:
        """Returns the number of steps."""
        return f"{options.length} steps, scored at {options.unseen}"

    def baseline(self, options: Any, targets: Any) -> tuple[str, dict[str, float]]:
        """Returns the score of a guess."""
        del options, targets
        return "a guess", {"accuracy": 0.5}

    def goals(self, options: ParityOptions, data: Data) -> list[Goal]:
        """Cells whose state moves linearly cannot solve it."""
        del data
        linear = isinstance(models.make_cell(options).form, forms.Linear)
        return [] if linear else [Goal("accuracy", 0.999, "solved")]

    def scored(self, options: ParityOptions) -> ParityOptions:
        """Returns options of the unseen length."""
        return dataclasses.replace(options, length=options.unseen)

    def model(self, options: ParityOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns recurrent layers and output layer."""
        del saved
        return jrnn.Sequential(
            jrnn.Embed(2, options.hidden_size),
            *models.recurrent(options),
            jrnn.Dense(2),
        )

    def example(self, options: ParityOptions, key: PRNGKey) -> tuple[Array, Array]:
        """Returns bits and their running parity, each [length]."""
        bits = jax.random.bernoulli(key, 0.5, (options.length,)).astype(jnp.int32)
        return bits, jnp.cumsum(bits) % 2

    def figures(self, options: Any, outputs: Array, targets: Array) -> dict[str, Array]:
        """Returns the fraction of right answers at the last quarter of the steps."""
        right = jnp.argmax(outputs, -1) == targets
        return {"accuracy": jnp.mean(right[:, -(options.unseen + 3) // 4 :], axis=-1)}

    def words(self, options: ParityOptions, figures: dict[str, float]) -> str:
        """Returns the accuracy in words."""
        return f"{figures['accuracy']:.1%} right at {options.unseen} steps"


TASK = Parity()
