"""Parity: whether the number of ones so far is odd, at every step.

A network whose state moves linearly, with gates that read the input only, cannot learn
it for all lengths [1]: it stays at half of the answers right on sequences longer than
those it was trained on. Networks with a nonlinear state can.

[1] Merrill et al., 2024, https://arxiv.org/abs/2404.08819
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
from experiments.run.task import Data, Goal, Progress, Score, Task, row_keys
from experiments.tasks import parts, views
from jrnn import forms, training
from jrnn.types import Array, Params, PRNGKey, State


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

    AT_LEAST = Options.AT_LEAST | {"length": 1, "unseen": 1, "examples": 1}


class Parity(Task):
    """Whether the number of ones so far is odd."""

    name = "parity"
    about = "whether the number of ones so far is odd, at unseen lengths"
    options = ParityOptions
    unit = "nats/step"
    lower_is_better = False

    def load(self, options: ParityOptions) -> Data:
        """Makes held-out sequences; those to train on are made in every update."""
        keys = jax.random.split(jax.random.key(2**31 - 1), options.examples)
        make = functools.partial(example, options.unseen)
        return Data(
            name=f"generated, {options.length} steps, scored at {options.unseen}",
            facts={},
            saved={},
            arrays=(),
            held_out=jax.tree.map(np.asarray, jax.jit(jax.vmap(make))(keys)),
            baselines={"a guess": {"accuracy": 0.5}},
        )

    def goals(self, options: ParityOptions, data: Data) -> list[Goal]:
        """Cells whose state moves linearly cannot solve it."""
        del data
        linear = isinstance(models.make_cell(options).form, forms.Linear)
        return [] if linear else [Goal("accuracy", 0.999, "solved")]

    def model(self, options: ParityOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns recurrent layers and output layer."""
        del saved
        return jrnn.Sequential(
            jrnn.Embed(2, options.hidden_size),
            *models.recurrent(options),
            jrnn.Dense(2),
        )

    def batch(self, options: Any, arrays: Any, step: Array, rows: Array) -> Any:
        """Makes new sequences."""
        del arrays
        keys = row_keys(options, step, rows)
        return jax.vmap(functools.partial(example, options.length))(keys)

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean cross-entropy of all steps."""
        bits, targets = batch
        logits = model.apply(params, None, bits, key=key)[1]
        return training.cross_entropy(logits, targets), state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns the fraction of right answers at the last quarter of the steps."""

        @jax.jit
        def values(batch: Any) -> Array:
            bits, targets = batch
            right = jnp.argmax(model.apply(params, None, bits)[1], -1) == targets
            return jnp.mean(right[:, -(options.unseen + 3) // 4 :], axis=-1)

        right = parts.mean_over_examples(values, data.held_out, progress)
        words = f"{right:.1%} right at {options.unseen} steps"
        return Score({"accuracy": right}, words)

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array:
        """Returns how much the last answer depends on each earlier step."""
        bits, targets = data.held_out
        return views.by_lag(model, params, bits, targets[:, -1])


def example(length: int, key: PRNGKey) -> tuple[Array, Array]:
    """Returns bits and their running parity, each [length]."""
    bits = jax.random.bernoulli(key, 0.5, (length,)).astype(jnp.int32)
    return bits, jnp.cumsum(bits) % 2


TASK = Parity()
