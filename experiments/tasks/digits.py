"""Handwritten digits, pixel by pixel: many to one.

The network reads one pixel after the other and names the digit at the end. `digits` has
1797 images of 8 x 8 pixels, from scikit-learn [1]. `mnist1d` has 4000 generated
sequences of 40 steps [2], a harder problem of the same kind, from the package mnist1d.

[1] Alpaydin and Kaynak, 1998, https://doi.org/10.24432/C50P49
[2] Greydanus and Kobak, 2020, https://arxiv.org/abs/2011.14439
"""

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.errors import UserError
from experiments.run import models
from experiments.run.options import Options
from experiments.run.task import Data, Goal, Progress, Score, row_keys
from experiments.tasks import parts, views
from experiments.tasks.bases import Examples
from jrnn import training
from jrnn.types import Array, Params, PRNGKey, State

CLASSES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class DigitsOptions(Options):
    """Options of digits.

    Attributes:
      data: digits (64 steps) or mnist1d (40 steps).
      noise: Standard deviation of noise that is added to the input in training.
    """

    data: Literal["digits", "mnist1d"] = "digits"
    noise: float = 0.0
    cell: str = "gru"
    hidden_size: int = 128
    dropout: float = 0.2
    batch_size: int = 64
    learning_rate: float = 3e-3

    UPDATES = 2000
    AT_LEAST = Options.AT_LEAST | {"noise": 0}


class Digits(Examples):
    """The digit in an image, read pixel by pixel."""

    name = "digits"
    about = "the digit in an image, read pixel by pixel"
    options = DigitsOptions
    unit = "nats"
    lower_is_better = False
    input_size = 1
    presets: ClassVar = {"mnist1d": {"data": "mnist1d"}}

    def load(self, options: DigitsOptions) -> Data:
        """Reads the data; a fifth is held out."""
        xs, labels, train = _digits() if options.data == "digits" else _mnist1d()
        arrays = {"xs": xs[:train], "labels": labels[:train]}
        commonest = np.bincount(labels[:train]).argmax()
        guessed = float(np.mean(labels[train:] == commonest))
        return Data(
            name=f"{options.data}, {train} to train on, {len(xs) - train} held out",
            facts={"sha256": parts.fingerprint([xs, labels])},
            saved={},
            arrays=arrays,
            held_out={"xs": xs[train:], "labels": labels[train:]},
            baselines={"the commonest digit": {"accuracy": guessed}},
        )

    def goals(self, options: DigitsOptions, data: Data) -> list[Goal]:
        """Returns a target, or what is published of a GRU [2]."""
        del data
        if options.data == "mnist1d":
            return [Goal("accuracy", 0.91, "GRU, Greydanus and Kobak 2020")]
        return [Goal("accuracy", 0.97, "target")]

    def model(self, options: DigitsOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns recurrent layers, the output of the last step, and ten classes."""
        del saved
        below = models.recurrent(options, last=True)
        return jrnn.Sequential(*below, jrnn.Dense(CLASSES))

    def batch(self, options: Any, arrays: Any, step: Array, rows: Array) -> Any:
        """Draws images, and adds noise."""
        batch = super().batch(options, arrays, step, rows)
        if options.noise:
            shape = batch["xs"].shape[1:]

            def noise(key: PRNGKey) -> Array:
                key = jax.random.fold_in(key, 1)
                return options.noise * jax.random.normal(key, shape, jnp.float32)

            keys = row_keys(options, step, rows)
            batch["xs"] = batch["xs"] + jax.vmap(noise)(keys)
        return batch

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean cross-entropy."""
        logits = model.apply(params, None, batch["xs"], key=key)[1]
        return training.cross_entropy(logits, batch["labels"]), state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns the fraction of held-out images that are named right."""

        @jax.jit
        def values(batch: Any) -> Any:
            logits = model.apply(params, None, batch["xs"])[1]
            loss = jax.vmap(training.cross_entropy)(logits, batch["labels"])
            return {"accuracy": jnp.argmax(logits, -1) == batch["labels"], "nats": loss}

        figures = parts.mean_over_examples(values, data.held_out, progress)
        return Score(figures, f"{figures['accuracy']:.2%} right")

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array:
        """Returns how much the answer depends on each pixel, the last one first."""
        held_out = data.held_out
        return views.by_lag(model, params, held_out["xs"], held_out["labels"])


def _digits() -> tuple[np.ndarray, np.ndarray, int]:
    """Returns images [1797, 64, 1], labels, and how many are to train on."""
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415  optional
    except ImportError:
        raise UserError(
            "this task needs scikit-learn: `pip install scikit-learn`."
        ) from None
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    xs = found.data[order, :, None].astype(np.float32) / 16
    return xs, found.target[order].astype(np.int32), len(xs) * 4 // 5


def _mnist1d() -> tuple[np.ndarray, np.ndarray, int]:
    """Returns sequences [5000, 40, 1], labels, and how many are to train on."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset  # noqa: PLC0415
    except ImportError:
        raise UserError("this data needs mnist1d: `pip install mnist1d`.") from None
    found = make_dataset(get_dataset_args())
    xs = np.concatenate([found["x"], found["x_test"]])[..., None]
    labels = np.concatenate([found["y"], found["y_test"]])
    return xs.astype(np.float32), labels.astype(np.int32), len(found["x"])


TASK = Digits()
