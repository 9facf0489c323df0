"""Terminal output of the training: facts, a progress bar and samples."""

import contextlib
import math
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from jrnn.text.vocabulary import SHOWN_UNK

if TYPE_CHECKING:
    from experiments.run.session import Standing

_NARROW = 105  # columns below which the bar is shortened
_RECENT = 10  # number of calls over which the bar averages
_NOTCHES = 10  # lines instead of the bar, if the output is not a terminal
_LABEL = 12
_ROWS = 24  # for tqdm, which shows nothing if a terminal reports zero rows


def say(text: str = "") -> None:
    """Prints a line, above the bar if there is one."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def fact(label: str, text: str) -> None:
    """Prints one line of a table."""
    say(f"  {_dim(f'{label:<{_LABEL}}')} {text}")


def warn(text: str) -> None:
    """Prints a warning."""
    say(f"warning: {text}")


def sample(title: str, text: str) -> None:
    """Prints a sample with a margin."""
    say()
    say(f"  {_dim(title)}")
    for line in lines(text.strip("\n"), columns() - 6):
        say(f"  {_dim('|')} {line}")
    say()


def lines(text: str, width: int) -> list[str]:
    """Splits a text into lines that fit, without control characters.

    Example:
      >>> lines("ab\\x1b[2Jc", width=4)
      ['ab\N{REPLACEMENT CHARACTER}[', '2Jc']
    """
    rows = [printable(row) for row in text.split("\n")]
    return [row[i : i + width] for row in rows for i in range(0, len(row) or 1, width)]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    cells = [[cell.replace("|", "\\|") or "-" for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def printable(text: str) -> str:
    """Replaces control characters, so a sample cannot control the terminal."""
    return "".join(
        c if c.isprintable() else (" " if c.isspace() else SHOWN_UNK)
        for c in text.replace("\t", "    ")
    )


class Bar:
    """A progress bar, or ten lines in total if the output is not a terminal."""

    def __init__(self, done: float, unit: str) -> None:
        self.notch, self.unit = done, unit
        self.recent: deque[Any] = deque(maxlen=_RECENT)
        self.live = sys.stdout.isatty()
        self.bar = tqdm(
            desc="starting",
            total=1.0,
            initial=min(done, 1.0),
            disable=not self.live,
            file=sys.stdout,
            bar_format="{percentage:3.0f}% |{bar}| {desc}",
            ncols=columns(),
            nrows=_ROWS,
            leave=False,
        )

    def show(self, now: "Standing") -> None:
        """Shows the progress."""
        self.recent.append(now)
        narrow = self.live and columns() < _NARROW
        figures = _figures(self.recent, self.unit, narrow)
        if self.live:
            self.bar.n, self.bar.ncols = min(now.done, 1.0), columns()
            self.bar.set_description_str(figures)
        elif now.done >= self.notch + 1 / _NOTCHES or now.done >= 1:
            self.notch = now.done
            say(f"{min(now.done, 1.0):4.0%}  step {now.step}  {figures}")

    @property
    def loss(self) -> float:
        """The average loss that is shown."""
        return _mean(self.recent, "loss")

    def close(self) -> None:
        """Removes the bar."""
        self.bar.close()


@contextlib.contextmanager
def taking(label: str) -> Iterator[None]:
    """Prints a label, and the elapsed time at the end."""
    print(f"  {_dim(f'{label:<{_LABEL}}')} ", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    finally:
        print(f"{time.monotonic() - began:.1f} s", flush=True)


@contextlib.contextmanager
def waiting(text: str) -> Iterator[Callable[[float], None]]:
    """Shows a progress bar for a slow task."""
    with tqdm(
        total=1.0,
        disable=not sys.stdout.isatty(),
        file=sys.stdout,
        bar_format="{percentage:3.0f}% |{bar}| {desc}",
        ncols=columns(),
        nrows=_ROWS,
        leave=False,
        desc=text,
    ) as bar:

        def progress(fraction: float) -> None:
            bar.n = fraction
            bar.refresh()

        yield progress


def columns() -> int:
    """Returns the width of the terminal."""
    return shutil.get_terminal_size().columns


def clock(seconds: float) -> str:
    """Returns minutes and seconds: `3:07`.

    Example:
      >>> clock(187.2), clock(7322)
      ('3:07', '2:02:02')
    """
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def amount(value: float, unit: str) -> str:
    """Returns a number with its unit.

    Example:
      >>> amount(1, "minute"), amount(1500, "update")
      ('1 minute', '1,500 updates')
    """
    digits = number(value) if float(value).is_integer() else f"{value:g}"
    return f"{digits} {unit}{'' if value == 1 else 's'}"


def number(value: float) -> str:
    """Returns a number with commas between thousands."""
    return f"{round(value):,}"


def _mean(recent: "deque[Standing]", name: str) -> float:
    """Returns an average over the calls that learned something."""
    learned = [one for one in recent if math.isfinite(one.loss)] or [recent[-1]]
    return sum(getattr(one, name) for one in learned) / len(learned)


def _figures(recent: "deque[Standing]", unit: str, narrow: bool) -> str:
    last = recent[-1]
    loss, norm, clipped = (_mean(recent, name) for name in ("loss", "norm", "clipped"))
    speed = sum(one.rows for one in recent) / sum(one.seconds for one in recent)
    if narrow:
        return (
            f"{loss:.3f}, grad {norm:.2f}, clip {clipped:.0%}, {speed:.0f} rows/s, "
            f"{clock(last.left)} left"
        )
    return (
        f"loss {loss:.3f} {unit}, grad {norm:.2f}, clipped {clipped:.0%}, "
        f"{number(speed)} rows/s, {clock(last.left)} left"
    )


def _dim(text: str) -> str:
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR")
    return text if plain else f"\x1b[2m{text}\x1b[0m"
