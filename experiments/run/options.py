"""Options that all tasks share. This module does not import JAX."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import tyro

from experiments.errors import UserError, refuse

DEFAULT_MINUTES = 2.0
# Options that are not saved in the folder of the run.
OF_THE_SESSION = (
    "out",
    "resume",
    "stop_after",
    "preset",
    "profile",
    "coordinator",
    "processes",
    "process",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of all tasks. A task adds its own, and may give other defaults.

    Attributes:
      minutes: Training time in minutes, without compilation, samples and evaluation.
      steps: Number of training updates. The learning rate decays over this number.
        Default without --minutes: the default of the task, or 2 minutes.
      stop_after: Stop the run after this many updates in total, as Ctrl-C does. You can
        continue it with --resume.
      out: Folder of the run. Default: runs/TASK-DATE-TIME.
      preset: Name of a set of options: quick, or a name that the task defines. Other
        options override it.
      weights: Weights to start from: the folder of a run, or a file such as
        weights.safetensors. The model must be the same.
      resume: Folder of a run to continue with the same options. Only the length, the
        number of samples, the time between checkpoints, --learning-rate, --warmup,
        --clip and --devices may change.
      cell: Recurrent cell: the name of any jrnn cell whose only required option is its
        size, such as lstm, gru, mingru or lem.
      hidden_size: Units of each recurrent layer.
      layers: Number of recurrent layers.
      dropout: Probability of dropping an output of a recurrent layer. The mask is the
        same for all steps of a sequence.
      batch_size: Number of rows of the batch.
      learning_rate: Learning rate of Adam after the warmup, followed by a cosine decay.
      warmup: Fraction of the training in which the learning rate grows from zero.
      clip: Clip gradients to this global norm.
      method: Kernel of the recurrent layers: auto, or a name in jrnn.kernels.METHODS.
      seed: Random seed.
      devices: Number of devices that share the batch, or auto for all cores or
        accelerators. With several processes, the number per process.
      coordinator: Host and port of process 0, if several processes train together, or
        auto under SLURM, Open MPI and Kubernetes.
      processes: Number of processes that train together.
      process: Index of this process, starting from 0.
      profile: Trace this many updates with the profiler of JAX.
      samples: Number of short samples shown during training.
      save_minutes: Minutes between two checkpoints.
    """

    minutes: Annotated[float | None, tyro.conf.arg(metavar="M")] = None
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    stop_after: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    preset: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    weights: Annotated[Path | None, tyro.conf.arg(metavar="RUN|FILE")] = None
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    cell: str = "lstm"
    hidden_size: int = 256
    layers: int = 1
    dropout: float = 0.0
    batch_size: int = 32
    learning_rate: float = 4e-3
    warmup: float = 0.01
    clip: float = 1.0
    method: str = "auto"
    seed: int = 0
    devices: str = "auto"
    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    processes: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    process: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    profile: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    samples: int = 4
    save_minutes: float = 1.0

    UPDATES: ClassVar[int | None] = None  # default length; None for DEFAULT_MINUTES

    # Options that a resumed run may change: FREE silently, WARNED with a warning.
    FREE = frozenset(["minutes", "steps", "samples", "save_minutes", *OF_THE_SESSION])
    WARNED = frozenset(["learning_rate", "warmup", "clip", "devices"])
    # Options that say where and how a run is computed, and not what it learns.
    OF_THE_MACHINE = frozenset(["samples", "save_minutes", "devices", *OF_THE_SESSION])

    # Bounds, by the name of a field. A task may check more by extending `wrong`.
    AT_LEAST = {
        "steps": 1,
        "stop_after": 1,
        "hidden_size": 1,
        "layers": 1,
        "batch_size": 1,
        "samples": 0,
        "profile": 1,
        "processes": 1,
        "process": 0,
    }
    POSITIVE: ClassVar[tuple[str, ...]] = (
        "minutes",
        "learning_rate",
        "clip",
        "save_minutes",
    )
    FRACTIONS: ClassVar[tuple[str, ...]] = ("dropout", "warmup")

    @property
    def budget(self) -> tuple[float | None, int | None]:
        """The length of the training in minutes and steps; None for no limit."""
        if self.minutes is None and self.steps is None:
            return (None, self.UPDATES) if self.UPDATES else (DEFAULT_MINUTES, None)
        return self.minutes, self.steps

    @property
    def recipe(self) -> Self:
        """The options on which compiled updates depend, the others at defaults.

        Example:
          >>> Options(steps=20, seed=3).recipe == Options()
          True
        """
        others: dict[str, Any] = {
            f.name: f.default
            for f in dataclasses.fields(self)
            if f.name in self.FREE | {"weights", "seed"}
        }
        return dataclasses.replace(self, **others)

    def check(self) -> None:
        """Raises a `UserError` that lists all options that are out of range."""
        refuse(self.wrong())

    def wrong(self) -> list[str]:
        """Returns what is out of range, in words."""
        found = out_of_range(self, self.AT_LEAST, self.POSITIVE, self.FRACTIONS)
        if self.devices != "auto" and not (
            self.devices.isdecimal() and int(self.devices) > 0
        ):
            found.append(
                f"--devices must be auto or a positive number, got {self.devices!r}"
            )
        if self.resume and self.out:
            found.append("--resume continues the run in its own folder: omit --out")
        if self.resume and self.preset:
            found.append(
                "--resume continues with the options of the run: omit --preset"
            )
        numbers = (self.processes, self.process)
        if self.coordinator in (None, "auto") and numbers != (None, None):
            found.append("--processes and --process need --coordinator HOST:PORT")
        if self.coordinator not in (None, "auto"):
            if ":" not in str(self.coordinator) or None in numbers:
                found.append(
                    "--coordinator must be auto, or HOST:PORT with --processes and "
                    f"--process, got {self.coordinator}"
                )
            elif not self.process < self.processes:  # type: ignore[operator]
                found.append(
                    f"--process must be below {self.processes}, got {self.process}"
                )
        return found

    def given(self) -> dict[str, Any]:
        """Returns the options that are not the default ones, files by their names.

        Example:
          >>> Options(cell="gru", seed=3).given()
          {'cell': 'gru', 'seed': 3}
        """
        return {
            f.name: value.name if isinstance(value, Path) else value
            for f in dataclasses.fields(self)
            if (value := getattr(self, f.name)) != f.default
        }

    def to_json(self) -> dict[str, Any]:
        """Returns the options as JSON values, with absolute paths."""
        return {
            name: str(value.resolve()) if isinstance(value, Path) else value
            for name, value in vars(self).items()
            if name not in OF_THE_SESSION
        }

    @property
    def fixed(self) -> dict[str, Any]:
        """The options that may not change when a run is resumed, as JSON values."""
        free = self.FREE | self.WARNED
        return {k: v for k, v in self.to_json().items() if k not in free}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """Returns the options from the result of `to_json`.

        Options that were added later have their default values.

        Raises:
          UserError: If an option is unknown or of another type.

        Example:
          >>> plain = Options(hidden_size=4).to_json()
          >>> del plain["weights"]
          >>> Options.from_json(plain) == Options(hidden_size=4)
          True
        """
        fields = {f.name: f for f in dataclasses.fields(cls)}
        odd = sorted(set(plain) - set(fields))
        if odd:
            raise UserError(f"config.json has unknown options: {odd}.")
        values = dict(plain)
        for name, value in plain.items():
            default = fields[name].default
            types: Any = type(default)
            if default is None:
                types = (int, float, str, type(None))
            if isinstance(value, bool) != isinstance(default, bool) or not isinstance(
                value, types
            ):
                raise UserError(
                    f"the option {name} in config.json is {value!r}, "
                    "which has the wrong type."
                )
            if isinstance(value, str) and "Path" in str(fields[name].type):
                values[name] = Path(value)
        made = cls(**values)
        made.check()
        return made

    def changes(self, new: Self) -> list[str]:
        """Returns warnings about options that differ when a run is resumed.

        Raises:
          UserError: If an option differs that may not change.
        """
        changed = {
            name: f"{flag(name)} was {value} and is now {getattr(new, name)}"
            for name, value in vars(self).items()
            if name not in self.FREE and getattr(new, name) != value
        }
        refused = [text for name, text in changed.items() if name not in self.WARNED]
        if refused:
            raise UserError(
                f"the run cannot be resumed with other options: {'; '.join(refused)}. "
                "Omit them, or start a new run."
            )
        return [
            f"{text}: the result will differ from the original run."
            for text in changed.values()
        ]


def out_of_range(
    options: Any,
    at_least: Mapping[str, float],
    positive: Any = (),
    fractions: Any = (),
    at_most: Mapping[str, float] = {},
) -> list[str]:
    """Returns what is out of range among the fields of a dataclass, in words.

    Every value of a tuple must be in range; None always is.
    """
    rules: list[tuple[str, str, Any]] = [
        *((k, f"at least {n}", lambda v, n=n: v >= n) for k, n in at_least.items()),
        *((k, f"at most {n}", lambda v, n=n: v <= n) for k, n in at_most.items()),
        *((k, "positive", lambda v: 0 < v < math.inf) for k in positive),
        *((k, "at least 0 and below 1", lambda v: 0 <= v < 1) for k in fractions),
    ]
    return [
        f"{flag(name)} must be {words}, got {value}"
        for name, words, holds in rules
        for given in [getattr(options, name)]
        for value in (given if isinstance(given, tuple) else [given])
        if value is not None and not holds(value)
    ]


def flag(name: str) -> str:
    """Returns the command-line option of a field."""
    return "--" + name.replace("_", "-")
