"""The commands `train char_lm` and `sample`: options in, exit code out.

JAX is imported when an option has been read and is right, not for `--help`.
"""

import dataclasses
import pkgutil
import sys
from typing import Any

import tyro

from experiments.char_lm import config as options
from experiments.char_lm.config import Sample, Train

_TRAIN = """Trains a character model by truncated backpropagation through time.

Without options: two minutes on Python's own manual. Ctrl-C ends the training at the next
update and saves it; a second Ctrl-C ends at once. Exit codes: 0 when the training ended or was
interrupted by Ctrl-C, 75 when SIGTERM stopped it (saved: run again with --resume), 1 or 2 for an
error."""
_SAMPLE = "Continues a text with a trained character model."


def train(prog: str, arguments: list[str]) -> int:
    """Begins or resumes a run."""
    config = tyro.cli(Train, prog=prog, description=_TRAIN, args=arguments)
    options.check(config)
    old = None
    if config.resume is not None:
        old, *_ = _late("run_folder:read")(config.resume)
        config = tyro.cli(Train, prog=prog, args=arguments, default=old)
        config = _one_length(old, config)
        options.check(config)
    _prepare(config.devices)
    return _late("train:run")(config, old)


def sample(prog: str, arguments: list[str]) -> int:
    """Writes to the terminal what a run would say."""
    config = tyro.cli(Sample, prog=prog, description=_SAMPLE, args=arguments)
    options.check(config)
    _prepare("1")
    return _late("sample:run")(config)


def _one_length(old: Train, new: Train) -> Train:
    """Lets a new length in steps replace an old one in minutes, and the reverse."""
    longer = {name: getattr(new, name) != getattr(old, name) for name in _LENGTHS}
    if sum(longer.values()) != 1:
        return new
    given = next(name for name, changed in longer.items() if changed)
    return dataclasses.replace(
        new, **{name: None for name in _LENGTHS if name != given}
    )


_LENGTHS = ["minutes", "steps"]


def _prepare(devices: str) -> None:
    # A text may hold any character, and a terminal may not know it.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    pkgutil.resolve_name("experiments.devices:prepare")(devices)


def _late(name: str) -> Any:
    return pkgutil.resolve_name(f"experiments.char_lm.{name}")
