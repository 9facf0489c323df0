"""Chorales by Bach: which of 88 piano notes sound at the next step.

The data is JSB_Chorales.mat of [1], with a part to train on and a part to test. The
loss is the sum over the notes of a step, averaged over steps; the first step is
predicted from silence. The baseline predicts how often each note sounds in training.

[1] Boulanger-Lewandowski et al., 2012, https://arxiv.org/abs/1206.6392
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jrnn
from experiments.errors import UserError
from experiments.run import models
from experiments.run.options import Options
from experiments.run.task import Data, Goal, Progress, Score
from experiments.tasks import parts, views
from experiments.tasks.bases import Examples
from jrnn.types import Array, Params, PRNGKey, State

NOTES = 88


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoralesOptions(Options):
    """Options of chorales.

    Attributes:
      data: The file JSB_Chorales.mat.
    """

    data: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    cell: str = "gru"
    hidden_size: int = 200
    dropout: float = 0.3
    batch_size: int = 16
    learning_rate: float = 1e-2
    clip: float = 5.0

    UPDATES = 2000
    FREE = Options.FREE | {"data"}


class Chorales(Examples):
    """The notes of the next step of a chorale."""

    name = "chorales"
    about = "the notes of the next step of a chorale"
    options = ChoralesOptions
    unit = "nats/step"
    input_size = NOTES

    def load(self, options: ChoralesOptions) -> Data:
        """Reads the parts of the file."""
        if options.data is None:
            raise UserError("this task needs the file JSB_Chorales.mat: pass --data.")
        train, test = _read(options.data)
        steps = jnp.concatenate([row[:n] for row, n in zip(*train, strict=True)])
        rates = np.clip(np.mean(steps, axis=0), 1e-4, 1 - 1e-4)
        logits = jnp.log(rates / (1 - rates))
        valid = np.arange(test[0].shape[1]) < test[1][:, None]
        baseline = float(np.mean(_nats(logits, test[0]), where=valid))
        return Data(
            name=str(options.data),
            facts={"sha256": parts.fingerprint([train, test])},
            saved={},
            arrays=train,
            held_out=test,
            about={
                "chorales": f"{len(train[1])} to train on, {len(test[1])} held out",
                "baseline": f"{baseline:.3f} nats per step, from the rate of each note",
            },
            baselines={"the rate of each note": {"held_out_nats": baseline}},
        )

    def goals(self, options: ChoralesOptions, data: Data) -> list[Goal]:
        """Returns targets for this data."""
        del data
        bound = 9.1 if options.cell == "elman" else 8.6
        return [Goal("held_out_nats", bound, "target")]

    def model(self, options: ChoralesOptions, saved: dict[str, Any]) -> jrnn.Sequential:
        """Returns recurrent layers, and a logit for each note."""
        del saved
        return jrnn.Sequential(*models.recurrent(options), jrnn.Dense(NOTES))

    def loss(
        self, model: Any, params: Params, state: State, batch: Any, key: PRNGKey | None
    ) -> tuple[Array, State]:
        """Returns the mean over the steps of the chorales."""
        total, steps = _sums(model, params, batch, key)
        return jnp.sum(total) / jnp.sum(steps), state

    def weight(self, batch: Any) -> Array:
        """Returns the number of steps."""
        return jnp.sum(batch[1])

    def score(
        self, options: Any, model: Any, params: Params, data: Data, progress: Progress
    ) -> Score:
        """Returns the mean over the steps of the test part."""

        @jax.jit
        def values(batch: Any) -> Any:
            total, steps = _sums(model, params, batch, None)
            return {"total": total, "steps": steps}

        found = parts.mean_over_examples(values, data.held_out, progress, size=32)
        nats = found["total"] / found["steps"]
        return Score({"held_out_nats": nats}, f"{nats:.3f} nats per step")

    def gradient_by_lag(
        self, options: Any, model: Any, params: Params, data: Data
    ) -> Array:
        """Returns how much the last notes depend on each earlier step."""
        notes, lengths = data.held_out
        size = int(min(lengths))
        before = np.pad(notes[:, : size - 1], ((0, 0), (1, 0), (0, 0)))
        return views.by_lag(model, params, before, notes[:, size - 1], _mean_nats)


def _sums(model: Any, params: Params, batch: Any, key: PRNGKey | None) -> Any:
    """Returns the loss and the number of steps of each chorale."""
    notes, lengths = batch
    before = jnp.pad(notes[:, :-1], ((0, 0), (1, 0), (0, 0)))
    logits = model.apply(params, None, before, lengths=lengths, key=key)[1]
    valid = jnp.arange(notes.shape[1]) < lengths[:, None]
    return jnp.sum(_nats(logits, notes), axis=-1, where=valid), lengths


def _nats(logits: Array, notes: Any) -> Array:
    """Returns the negative log-likelihood of the notes of each step."""
    return jnp.sum(jax.nn.softplus(logits) - notes * logits, axis=-1)


def _mean_nats(logits: Array, notes: Any) -> Array:
    """Returns the mean over rows."""
    return jnp.mean(_nats(logits, notes))


def _read(file: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the padded chorales and the lengths of both parts."""
    try:
        from scipy.io import loadmat, matlab  # noqa: PLC0415  optional
    except ImportError:
        raise UserError("this task needs scipy: `pip install scipy`.") from None
    try:
        with file.open("rb") as opened:
            found = loadmat(opened)
        return [
            jrnn.sequences.pad([np.asarray(a, np.float32) for a in found[name].flat])
            for name in ("traindata", "testdata")
        ]
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}.") from None
    except (matlab.MatReadError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{file} is not JSB_Chorales.mat: {error}.") from None


TASK = Chorales()
