"""The number of sunspots of the next year, from all years before: a time series.

The yearly numbers of 1700 to 2008 are those of the National Geophysical Data Center
(public domain). A model of 1700 to 1920 is scored on 1921 to 1955 and on 1956 to 1979,
by the squared error divided by the variance of all years to 1979, as Weigend and others
do [1]. An autoregressive model of nine years, fitted here too, is the baseline.

[1] Weigend, Huberman and Rumelhart, 1990, https://doi.org/10.1142/S0129065790000102
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

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

FILE = Path(__file__).parent / "sunspots.csv"
FIRST = 1700
PERIODS = {"1921-55": (1921, 1956), "1956-79": (1956, 1980)}
PUBLISHED = {"1921-55": 0.127, "1956-79": 0.353}
LAGS = 9  # years of the baseline


@dataclasses.dataclass(frozen=True, kw_only=True)
class SunspotsOptions(Options):
    """Options of sunspots.

    Attributes:
      window: Years of a training sequence.
      noise: Standard deviation of noise that is added to the input in training, in
        units of the standard deviation of the series.
      decay: Weight of the squared parameters in the loss.
    """

    window: int = 60
    noise: float = 0.03
    decay: float = 1e-3
    cell: str = "gru"
    hidden_size: int = 8
    batch_size: int = 16
    learning_rate: float = 5e-3

    UPDATES = 1000
    AT_LEAST = Options.AT_LEAST | {"window": 2, "noise": 0, "decay": 0}


class Sunspots(Task):
    """The number of sunspots of the next year."""

    name = "sunspots"
    about = "the number of sunspots of the next year"
    options = SunspotsOptions
    unit = "squared error"
    input_size = 1

    def load(self, options: SunspotsOptions) -> Data:
        """Reads the series; years before 1921 are to train on."""
        years, spots = np.loadtxt(FILE, delimiter=",", skiprows=1).T
        train = spots[years < PERIODS["1921-55"][0]]
        mean, scale = float(train.mean()), float(train.std())
        series = ((spots - mean) / scale).astype(np.float32)
        lines = autoregression(series, len(train))
        known = spots[years < 1980]
        held_out: dict[str, Any] = {
            "series": series,
            "variance": float(known.var()) / scale**2,
            "baseline": lines,
        }
        fitted = _relative(lines, held_out)
        return Data(
            name="yearly sunspot numbers, 1700 to 2008",
            facts={"sha256": parts.fingerprint(spots)},
            saved={},
            arrays=series[: len(train)],
            held_out=held_out,
            about={"baseline": f"AR({LAGS}): {_words(fitted)}"},
            baselines={f"AR({LAGS})": fitted},
        )

    def goals(self, options: SunspotsOptions, data: Data) -> list[Goal]:
        """Returns what is published of an autoregressive model [1]."""
        del options, data
        source = f"AR({LAGS}), Weigend 1990"
        return [Goal(period, value, source) for period, value in PUBLISHED.items()]

    def model(self, options: SunspotsOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns recurrent layers and one output, added to the number of this year."""
        del saved
        return jrnn.Sequential(*models.recurrent(options), jrnn.Dense(1))

    def is_random(self, options: Any) -> bool:
        """Whether the loss needs a key."""
        return options.dropout > 0

    def batch(self, options: Any, arrays: Array, step: Array, rows: Array) -> Any:
        """Draws windows, and adds noise to their inputs."""
        keys = row_keys(options, step, rows)
        size = min(options.window, len(arrays) - 1)

        def window(key: PRNGKey) -> Any:
            keys = jax.random.split(key)
            first = jax.random.randint(keys[0], (), 0, len(arrays) - size)
            read = jax.lax.dynamic_slice_in_dim(arrays, first, size + 1)
            noise = jax.random.normal(keys[1], (size,), jnp.float32)
            return {"xs": read[:-1] + options.noise * noise, "targets": read[1:]}

        batch = jax.vmap(window)(keys)
        return batch | {"decay": jnp.full(len(rows), options.decay, jnp.float32)}

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean squared error, and the penalty on the parameters."""
        guesses = predict(model, params, batch["xs"], key)
        skipped = 10  # the state needs a few years
        errors = (guesses - batch["targets"])[:, skipped:]
        size = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return jnp.mean(errors**2) + batch["decay"][0] * size, state

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns the relative variance of both periods."""
        series = jnp.asarray(data.held_out["series"])
        guesses = np.asarray(predict(model, params, series[None, :-1], None)[0])
        progress(1.0)
        figures = _relative(np.concatenate([series[:1], guesses]), data.held_out)
        return Score(figures, _words(figures))

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array:
        """Returns how much the squared error of a year depends on the years before."""
        series = data.held_out["series"]
        size = min(options.window, len(series) - views.ROWS)
        starts = np.arange(len(series) - size)[-views.ROWS :]
        read = np.stack([series[n : n + size + 1] for n in starts])[..., None]
        given = read[:, :-1], read[:, -1], training.squared_error
        return views.by_lag(Guesses(model), params, *given)


class Guesses(NamedTuple):
    """A model of changes as a model of the numbers [batch, years, 1]."""

    changes: Any
    over_time: str = "causal"

    def apply(self, params: Params, state: State, xs: Array) -> tuple[State, Array]:
        """Returns a guess of the next year for every year."""
        state, changes = self.changes.apply(params, state, xs)
        return state, xs + changes


def predict(model: Any, params: Params, xs: Array, key: PRNGKey | None) -> Array:
    """Returns a guess of the next year for every year [batch, years]."""
    _, changes = model.apply(params, None, xs[..., None], key=key)
    return xs + changes[..., 0]


def autoregression(series: np.ndarray, train: int) -> np.ndarray:
    """Returns guesses of every year by a line through the years before, [years]."""
    lags = np.stack([series[n - LAGS : n][::-1] for n in range(LAGS, len(series))])
    lags = np.concatenate([lags, np.ones((len(lags), 1))], axis=-1)
    weights, *_ = np.linalg.lstsq(lags[: train - LAGS], series[LAGS:train], rcond=None)
    return np.concatenate([series[:LAGS], lags @ weights])


def _relative(guesses: np.ndarray, held_out: dict[str, Any]) -> dict[str, float]:
    """Returns squared errors of both periods, divided by the variance."""
    errors = (guesses - held_out["series"]) ** 2 / held_out["variance"]
    return {
        period: float(errors[first - FIRST : last - FIRST].mean())
        for period, (first, last) in PERIODS.items()
    }


def _words(figures: dict[str, float]) -> str:
    listed = [f"{value:.3f} in {period}" for period, value in figures.items()]
    return f"relative variance {' and '.join(listed)}"


TASK = Sunspots()
