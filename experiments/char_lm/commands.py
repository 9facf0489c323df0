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

Without options: two minutes on Python's own manual. Ctrl-C ends the training after the
next few updates and saves it; a second Ctrl-C ends at once. Exit codes: 0 at the end or
after Ctrl-C, 75 after SIGTERM (saved: go on with --resume), 130 when there was nothing
to save, 1 or 2 for an error."""
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
    names = ("minutes", "steps")
    longer = {name: getattr(new, name) != getattr(old, name) for name in names}
    if sum(longer.values()) != 1:
        return new
    if longer["steps"]:
        return dataclasses.replace(new, minutes=None)
    return dataclasses.replace(new, steps=None)


def _prepare(devices: str) -> None:
    # A text may hold any character, and a terminal may not know it.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    pkgutil.resolve_name("experiments.devices:prepare")(devices)


def _late(name: str) -> Any:
    return pkgutil.resolve_name(f"experiments.char_lm.{name}")
