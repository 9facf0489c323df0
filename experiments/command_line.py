"""Options from the command line. A wrong one is an error of one line."""

import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Iterator
from typing import Any

import tyro

from experiments.errors import UserError

_RULE = "-" * 8  # in the boxes of tyro, where a terminal has no box drawing
_FRAME = str.maketrans(dict.fromkeys("╭╮╰╯│") | {"─": "-"})


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """Options of a command that has only --help."""


def parse(kind: Any, prog: str, arguments: list[str], **given: Any) -> Any:
    """Returns the options of a command, a dataclass.

    Args:
      kind: The class of the options.
      prog: The command, as the user writes it.
      arguments: The words after it.
      **given: More arguments of `tyro.cli`, such as `description` or `default`.

    Raises:
      UserError: If an option is unknown or has a wrong value.

    Example:
      >>> from experiments.run.options import Options
      >>> parse(Options, "train", ["--seed", "3"]).seed
      3
      >>> parse(Options, "train", ["--seed", "three"])
      Traceback (most recent call last):
      experiments.errors.UserError: --seed: invalid literal for int() with base 10: \
'three'. See train --help.
    """
    call = {"prog": prog, "args": arguments, **given}
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return tyro.cli(kind, **call)
    except SystemExit as end:
        if not end.code:
            raise  # help, which is printed
    said = io.StringIO()  # once more, in lines that are not wrapped
    with (
        contextlib.redirect_stderr(said),
        contextlib.suppress(SystemExit),
        _wide_terminal(),
    ):
        tyro.cli(kind, **call)
    raise UserError(f"{one_line(said.getvalue())} See {prog} --help.")


def one_line(box: str) -> str:
    """Returns the error in a box of tyro as a line, with the option it may mean."""
    lines = [line.translate(_FRAME).strip() for line in box.splitlines()]
    parts: list[list[str]] = [[]]
    for line in lines[1:]:  # the first one is the title
        if line.startswith(_RULE):
            parts.append([])
        elif line:
            parts[-1].append(line)
    filled = [part for part in parts if part]
    title, *words = filled[0]
    if title.startswith("Missing from "):  # each name is above its help
        names = [line.split()[0] for line in words if not line.endswith("(required)")]
        words = [", ".join(names)]
    what = " ".join([title, *words]).removeprefix("Error parsing ")
    similar = [
        word
        for part in filled[1:]
        if part[0].startswith(("Perhaps", "Arguments similar"))
        for line in part[1:]
        for word in re.findall(r"^--[\w-]+", line)
    ]
    hint = f" Do you mean {' or '.join(dict.fromkeys(similar))}?" if similar else ""
    return f"{what[:1].lower()}{what[1:].rstrip('.')}.{hint}"


@contextlib.contextmanager
def _wide_terminal() -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
