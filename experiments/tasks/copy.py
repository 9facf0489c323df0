"""The copy problem: repeat ten symbols after a long gap [1].

    input    10 symbols of 8, `gap` blanks, the last of them a mark, 10 blanks
    target   blanks, and the 10 symbols at the end

Without memory, blanks and a uniform guess give a loss of 10 log(8) / (gap + 20).

[1] Arjovsky et al., 2016, https://arxiv.org/abs/1511.06464
"""

import dataclasses
import functools
import math
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

SYMBOLS, COPIED = 8, 10
BLANK, MARK = SYMBOLS, SYMBOLS + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopyOptions(Options):
    """Options of copy.

    Attributes:
      gap: Number of blanks between the symbols and their copy.
      examples: Number of held-out sequences to score.
    """

    gap: int = 100
    examples: int = 1000
    hidden_size: int = 128
    learning_rate: float = 1e-3

    AT_LEAST = Options.AT_LEAST | {"gap": 1, "examples": 1}


class Copy(Task):
    """Ten symbols, repeated after a long gap."""

    name = "copy"
    about = "ten symbols, repeated after a long gap"
    options = CopyOptions
    unit = "nats/step"

    def load(self, options: CopyOptions) -> Data:
        """Makes held-out sequences; those to train on are made in every update."""
        keys = jax.random.split(jax.random.key(2**31 - 1), options.examples)
        held_out = jax.jit(jax.vmap(functools.partial(example, options.gap)))(keys)
        baseline = _plateau(options.gap)
        return Data(
            name=f"generated, a gap of {options.gap} steps",
            facts={},
            saved={},
            arrays=(),
            held_out=jax.tree.map(np.asarray, held_out),
            about={"baseline": f"{baseline:.4f} nats per step without memory"},
            baselines={"without memory": {"nats": baseline}},
        )

    def goals(self, options: CopyOptions, data: Data) -> list[Goal]:
        """Gated cells reach a tenth of the loss without memory."""
        del data
        if options.cell == "elman":
            return []
        return [Goal("nats", _plateau(options.gap) / 10, "a tenth of the plateau")]

    def model(self, options: CopyOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns embedding, recurrent layers and output layer."""
        del saved
        return jrnn.Sequential(
            jrnn.Embed(MARK + 1, 16),
            *models.recurrent(options),
            jrnn.Dense(BLANK + 1),
        )

    def batch(self, options: Any, arrays: Any, step: Array, rows: Array) -> Any:
        """Makes new sequences."""
        del arrays
        keys = row_keys(options, step, rows)
        return jax.vmap(functools.partial(example, options.gap))(keys)

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean cross-entropy of all steps."""
        inputs, targets = batch
        logits = model.apply(params, None, inputs, key=key)[1]
        return training.cross_entropy(logits, targets), state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns loss and accuracy on held-out sequences."""

        @jax.jit
        def values(batch: Any) -> Any:
            inputs, targets = batch
            logits = model.apply(params, None, inputs)[1]
            loss = jax.vmap(training.cross_entropy)(logits, targets)
            right = jnp.argmax(logits, -1)[:, -COPIED:] == targets[:, -COPIED:]
            return {"nats": loss, "right": jnp.mean(right, axis=-1)}

        figures = parts.mean_over_examples(values, data.held_out, progress)
        words = f"{figures['nats']:.4f} nats per step, {figures['right']:.1%} copied"
        return Score(figures, words)

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array:
        """Returns how much the last answer depends on each earlier step."""
        inputs, targets = data.held_out
        return views.by_lag(model, params, inputs, targets[:, -1])


def example(gap: int, key: PRNGKey) -> tuple[Array, Array]:
    """Returns inputs and targets [gap + 20]."""
    symbols = jax.random.randint(key, (COPIED,), 0, SYMBOLS)
    blanks = jnp.full(gap + COPIED, BLANK)
    inputs = jnp.concatenate([symbols, blanks.at[gap - 1].set(MARK)])
    return inputs, jnp.concatenate([blanks, symbols])


def _plateau(gap: int) -> float:
    return COPIED * math.log(SYMBOLS) / (gap + 2 * COPIED)


TASK = Copy()
