"""The adding problem: the sum of two marked numbers in a long sequence [1].

The network reads pairs of a uniform number and a mark, and outputs one number at the
end. To output 1, the mean of the sum, gives a squared error of 1/6 = 0.167.

[1] Hochreiter and Schmidhuber, 1997, https://doi.org/10.1162/neco.1997.9.8.1735
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
from jrnn import training
from jrnn.types import Array, Params, PRNGKey, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddingOptions(Options):
    """Options of adding.

    Attributes:
      length: Number of time steps.
      examples: Number of held-out sequences to score.
    """

    length: int = 200
    examples: int = 1000
    hidden_size: int = 128
    batch_size: int = 50
    learning_rate: float = 2e-3

    AT_LEAST = Options.AT_LEAST | {"length": 2, "examples": 1}


class Adding(Task):
    """The sum of two marked numbers, many steps later."""

    name = "adding"
    about = "the sum of two marked numbers in a long sequence"
    options = AddingOptions
    unit = "squared error"
    input_size = 2

    def load(self, options: AddingOptions) -> Data:
        """Makes held-out sequences; those to train on are made in every update."""
        keys = jax.random.split(jax.random.key(2**31 - 1), options.examples)
        held_out = jax.jit(jax.vmap(functools.partial(example, options.length)))(keys)
        spread = float(np.mean((np.asarray(held_out[1]) - 1) ** 2))
        return Data(
            name=f"generated, {options.length} steps",
            facts={},
            saved={},
            arrays=(),
            held_out=jax.tree.map(np.asarray, held_out),
            baselines={"to output 1": {"squared_error": spread}},
        )

    def goals(self, options: AddingOptions, data: Data) -> list[Goal]:
        """Gated cells solve it; an Elman network is known to stay at the baseline."""
        del data
        reached = options.cell != "elman"
        return [Goal("squared_error", 1e-3, "solved")] if reached else []

    def model(self, options: AddingOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns recurrent layers, the last step, and one output."""
        del saved
        return jrnn.Sequential(*models.recurrent(options, last=True), jrnn.Dense(1))

    def batch(self, options: Any, arrays: Any, step: Array, rows: Array) -> Any:
        """Makes new sequences."""
        del arrays
        keys = row_keys(options, step, rows)
        return jax.vmap(functools.partial(example, options.length))(keys)

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean squared error."""
        xs, targets = batch
        ys = model.apply(params, None, xs, key=key)[1][..., 0]
        return jnp.mean((ys - targets) ** 2), state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns the squared error on held-out sequences."""

        @jax.jit
        def error(batch: Any) -> Array:
            xs, targets = batch
            return (model.apply(params, None, xs)[1][..., 0] - targets) ** 2

        found = parts.mean_over_examples(error, data.held_out, progress)
        return Score({"squared_error": found}, f"squared error {found:.2g}")

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array:
        """Returns how much the last answer depends on each earlier step."""
        xs, targets = data.held_out
        return views.by_lag(model, params, xs, targets[:, None], training.squared_error)


def example(length: int, key: PRNGKey) -> tuple[Array, Array]:
    """Returns a sequence [length, 2] and its sum."""
    keys = jax.random.split(key, 3)
    values = jax.random.uniform(keys[0], (length,))
    half = length // 2
    first = jax.random.randint(keys[1], (), 0, half)
    second = jax.random.randint(keys[2], (), half, length)
    marks = jnp.zeros(length).at[jnp.stack([first, second])].set(1.0)
    return jnp.stack([values, marks], axis=-1), values[first] + values[second]


TASK = Adding()
