"""The copy problem: repeat ten symbols after a long gap [1].

    input    10 of 8 symbols, `gap` blanks whose last one is a marker, 10 blanks
    target   blanks, and the 10 symbols at the end

Without memory, blanks and a uniform guess give a loss of 10 log(8) / (gap + 20).

[1] Arjovsky et al., 2016, https://arxiv.org/abs/1511.06464
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

import jrnn
from experiments.run import models
from experiments.run.options import Options
from experiments.run.task import Data, Goal
from experiments.tasks.bases import Generated
from jrnn.types import Array, PRNGKey

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
    cell: str = "orthogonal(modrelurnn)"
    hidden_size: int = 128
    learning_rate: float = 4e-3

    UPDATES = 1500
    AT_LEAST = Options.AT_LEAST | {"gap": 1, "examples": 1}


class Copy(Generated):
    """Ten symbols, repeated after a long gap."""

    name = "copy"
    about = "ten symbols, repeated after a long gap"
    options = CopyOptions
    unit = "nats/step"

    def size(self, options: CopyOptions) -> str:
        """Returns the gap."""
        return f"a gap of {options.gap} steps"

    def baseline(self, options: Any, targets: Any) -> tuple[str, dict[str, float]]:
        """Returns the figures of blanks and a uniform guess of the copied symbols."""
        del targets
        return "a guess", {"nats": _plateau(options), "right": 1 / SYMBOLS}

    def goals(self, options: CopyOptions, data: Data) -> list[Goal]:
        """Gated cells reach a tenth of the loss without memory."""
        del data
        if options.cell == "elman":
            return []
        return [Goal("nats", _plateau(options) / 10, "a tenth of the plateau")]

    def model(self, options: CopyOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns embedding, recurrent layers and output layer."""
        del saved
        return jrnn.Sequential(
            jrnn.Embed(MARK + 1, 16),
            *models.recurrent(options),
            jrnn.Dense(BLANK + 1),
        )

    def example(self, options: CopyOptions, key: PRNGKey) -> tuple[Array, Array]:
        """Returns inputs and targets [gap + 20]."""
        symbols = jax.random.randint(key, (COPIED,), 0, SYMBOLS)
        blanks = jnp.full(options.gap + COPIED, BLANK)
        inputs = jnp.concatenate([symbols, blanks.at[options.gap - 1].set(MARK)])
        return inputs, jnp.concatenate([blanks, symbols])

    def figures(self, options: Any, outputs: Array, targets: Array) -> dict[str, Array]:
        """Returns the loss, and which of the copied symbols are right."""
        right = jnp.argmax(outputs, -1)[:, -COPIED:] == targets[:, -COPIED:]
        return {
            "nats": self.errors(outputs, targets),
            "right": jnp.mean(right, axis=-1),
        }

    def words(self, options: CopyOptions, figures: dict[str, float]) -> str:
        """Returns loss and accuracy in words."""
        return f"{figures['nats']:.4f} nats per step, {figures['right']:.1%} copied"


def _plateau(options: CopyOptions) -> float:
    """Returns the loss of blanks and a uniform guess of the copied symbols."""
    return COPIED * math.log(SYMBOLS) / (options.gap + 2 * COPIED)


TASK = Copy()
