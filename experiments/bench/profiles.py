"""What a device does during a call, by a trace of JAX's profiler.

If a device is idle for much of a call, the call waits for launches. Then a program of
fewer operations is faster, and faster operations change little.
"""

import collections
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

SHOWN = 3  # operations
Event = tuple[float, float, str]  # start and end in nanoseconds, and the name


class Profile(NamedTuple):
    """The operations of a call: kernels and copies on a GPU, those of XLA elsewhere."""

    operations: int
    busy: float  # seconds in which at least one of them ran
    span: float  # seconds from the start of the first to the end of the last
    longest: list[tuple[str, int, float]]  # name, number, seconds in total


def profile(call: Callable[[], Any]) -> Profile | None:
    """Runs a call that was compiled before; None if the trace has no operations."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            call()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        return read(jax.profiler.ProfileData.from_file(str(path)))


def read(data: jax.profiler.ProfileData) -> Profile | None:
    """Sums up the trace of one device."""
    events = sorted(event for line in _lines(data) for event in _leaves(line))
    if not events:
        return None
    busy, until = 0.0, events[0][0]
    spent: dict[str, list[float]] = collections.defaultdict(list)
    for start, end, name in events:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
        spent[name].append((end - start) / 1e9)
    totals = [(name, len(times), sum(times)) for name, times in spent.items()]
    longest = sorted(totals, key=lambda total: -total[2])[:SHOWN]
    return Profile(len(events), busy / 1e9, (until - events[0][0]) / 1e9, longest)


def _lines(data: jax.profiler.ProfileData) -> Iterator[list[Event]]:
    """Yields the operations of each stream of a GPU, of a TPU core, or of each thread.

    A trace of a GPU may also have the operations of XLA that its kernels belong to.
    """
    planes = [*data.planes]
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    for prefix in ("Stream", "XLA Ops"):
        lines = [line for plane in devices for line in plane.lines]
        chosen = [line for line in lines if line.name.startswith(prefix)]
        if chosen:
            yield from ([_event(event) for event in line.events] for line in chosen)
            return
    for plane in planes:
        if plane.name == "/host:CPU":
            for line in plane.lines:
                yield [_event(event) for event in line.events if _of_xla(event)]


def _event(event: Any) -> Event:
    return event.start_ns, event.start_ns + event.duration_ns, event.name


def _of_xla(event: Any) -> bool:
    return any(name == "hlo_op" for name, _ in event.stats)


def _leaves(events: list[Event]) -> Iterator[Event]:
    """Yields the events that contain no other one, as a loop contains its body."""
    events = sorted(events, key=lambda event: (event[0], -event[1]))
    for event, following in itertools.zip_longest(events, events[1:]):
        if following is None or following[0] >= event[1]:
            yield event
