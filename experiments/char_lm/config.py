"""The options of the commands. This module does not import JAX."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from experiments.errors import UserError

DEFAULT_MINUTES = 2.0


@dataclasses.dataclass(frozen=True)
class Train:
    """Options of `train char_lm`.

    Attributes:
      text: UTF-8 file to train on. Default: the Python language reference that ships
        with Python, half a million characters. The last 10 % are held out.
      minutes: Length of the training in minutes, without compilation, samples and
        evaluation. Default without --steps: 2.
      steps: Length of the training in updates. The learning rate decays over this
        length.
      stop_after: Stop the run after this many updates in total, as Ctrl-C does. It can
        be continued with --resume.
      out: Folder of the run. Default: runs/char_lm-DATE-TIME.
      resume: Folder of a run to continue with the same options. Only the length, the
        number of samples, the time between checkpoints, --learning-rate, --warmup,
        --clip and --devices may change.
      cell: Kind of recurrent layer.
      hidden_size: Units of each recurrent layer.
      layers: Number of recurrent layers.
      embedding_size: Features of the embedding of a character.
      dropout: Probability of dropping an output of a recurrent layer. The mask is the
        same for all steps of a chunk.
      batch_size: Number of rows of the batch. Each row reads another part of the text.
      chunk: Characters per update, and the largest number of steps that gradients flow
        back. The state is carried to the next chunk.
      learning_rate: Learning rate of Adam after the warmup. It decays along a cosine.
      warmup: Fraction of the training in which the learning rate grows from zero.
      clip: Largest norm of the gradient.
      seed: Random seed.
      devices: Number of devices over which the batch is split, or auto for all cores or
        accelerators.
      score: Largest number of held-out characters to score at the end.
      samples: Number of short samples shown during training.
      save_minutes: Minutes between two checkpoints.
    """

    text: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M")] = None
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    stop_after: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    cell: Literal["lstm", "gru"] = "lstm"
    hidden_size: int = 256
    layers: int = 1
    embedding_size: int = 64
    dropout: float = 0.1
    batch_size: int = 32
    chunk: int = 64
    learning_rate: float = 4e-3
    warmup: float = 0.01
    clip: float = 1.0
    seed: int = 0
    devices: str = "auto"
    score: int = 1_000_000
    samples: int = 4
    save_minutes: float = 1.0


@dataclasses.dataclass(frozen=True)
class Sample:
    """Options of `sample`.

    Attributes:
      run: Folder of a run of `train char_lm`.
      prime: Text to continue. Characters outside of the vocabulary are read as <unk>.
        Default: a line break.
      length: Number of characters to generate.
      temperature: Values above 1 give more random text, values below 1 less random
        text. 0 always chooses the most likely character.
      top_k: Sample only from the K most likely characters.
      top_p: Sample only from the most likely characters with total probability P.
      seed: Random seed.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    prime: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    length: int = 500
    temperature: float = 0.8
    top_k: Annotated[int | None, tyro.conf.arg(metavar="K")] = None
    top_p: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    seed: int = 0


# Options that a resumed run may change: FREE silently, WARNED with a warning.
FREE = frozenset(
    ["text", "minutes", "steps", "stop_after", "out", "resume", "score", "samples"]
    + ["save_minutes"]
)
WARNED = frozenset(["learning_rate", "warmup", "clip", "devices"])

_OF_THE_SESSION = ["out", "resume", "stop_after"]  # not saved in the folder of the run
_AT_LEAST = {
    "steps": 1,
    "stop_after": 1,
    "hidden_size": 1,
    "layers": 1,
    "embedding_size": 1,
    "batch_size": 1,
    "chunk": 1,
    "score": 1,
    "samples": 0,
    "length": 0,
    "temperature": 0,
    "top_k": 1,
}
_POSITIVE = ["minutes", "learning_rate", "clip", "save_minutes", "top_p"]
_FRACTIONS = ["dropout", "warmup"]


def check(config: Train | Sample) -> None:
    """Raises a `UserError` that lists all options that are out of range."""
    values = {k: v for k, v in vars(config).items() if v is not None}
    wrong = [
        f"{flag(name)} must be at least {bound}, got {values[name]}"
        for name, bound in _AT_LEAST.items()
        if name in values and not values[name] >= bound
    ]
    wrong += [
        f"{flag(name)} must be positive, got {values[name]}"
        for name in _POSITIVE
        if name in values and not 0 < values[name] < float("inf")
    ]
    wrong += [
        f"{flag(name)} must be at least 0 and below 1, got {values[name]}"
        for name in _FRACTIONS
        if name in values and not 0 <= values[name] < 1
    ]
    devices = values.get("devices", "auto")
    if devices != "auto" and not (devices.isdecimal() and int(devices) > 0):
        wrong.append(f"--devices must be auto or a positive number, got {devices!r}")
    if values.get("resume") and values.get("out"):
        wrong.append("--resume continues in the folder of the run: do not pass --out")
    if wrong:
        raise UserError("; ".join(wrong) + ".")


def budget(config: Train) -> tuple[float | None, int | None]:
    """Returns the length of the training in minutes and steps; None for no limit."""
    if config.minutes is None and config.steps is None:
        return DEFAULT_MINUTES, None
    return config.minutes, config.steps


def recipe(config: Train) -> Train:
    """Returns the options on which compiled updates depend, the others at defaults.

    Example:
      >>> recipe(Train(steps=20, seed=3)) == Train(seed=3)
      True
    """
    others: dict[str, Any] = {
        f.name: f.default for f in dataclasses.fields(Train) if f.name in FREE
    }
    return dataclasses.replace(config, **others)


def flag(name: str) -> str:
    """Returns the command-line option of a field."""
    return "--" + name.replace("_", "-")


def to_json(config: Train) -> dict[str, Any]:
    """Returns the configuration as JSON values."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in vars(config).items()}
    if config.text is not None:
        plain["text"] = str(config.text.resolve())
    return {k: v for k, v in plain.items() if k not in _OF_THE_SESSION}


def from_json(plain: dict[str, Any]) -> Train:
    """Returns the configuration from the result of `to_json`.

    Raises:
      UserError: If an option is unknown, missing or of another type.
    """
    fields = {f.name: f for f in dataclasses.fields(Train)}
    odd = sorted(set(plain) ^ (set(fields) - set(_OF_THE_SESSION)))
    if odd:
        raise UserError(f"its configuration has unknown or missing options: {odd}.")
    for name, value in plain.items():
        default = fields[name].default
        types: Any = (int, float, str, type(None)) if default is None else type(default)
        if isinstance(value, bool) or not isinstance(value, types):
            raise UserError(f"the option {name} of its configuration is {value!r}.")
    text = None if plain["text"] is None else Path(plain["text"])
    config = Train(**{**plain, "text": text})
    check(config)
    return config


def refuse_changes(old: Train, new: Train) -> list[str]:
    """Returns warnings about options that differ when a run is resumed.

    Raises:
      UserError: If an option differs that may not change.
    """
    changed = [
        name
        for name in vars(old)
        if name not in FREE and getattr(old, name) != getattr(new, name)
    ]
    messages = {
        name: f"{flag(name)} was {getattr(old, name)} and is now {getattr(new, name)}"
        for name in changed
    }
    refused = [messages[name] for name in changed if name not in WARNED]
    if refused:
        raise UserError(
            f"the run cannot be resumed with other options: {'; '.join(refused)}. "
            "Omit them, or start a new run."
        )
    return [
        f"{messages[name]}: the result will differ from the original run."
        for name in changed
    ]
