"""Ctrl-C and SIGTERM as a request to end at the next good moment."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

_NOTICE = b"\nEnding in a moment; once more to end at once.\n"


class Request:
    """Whether the end was asked for, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Catches the first Ctrl-C or SIGTERM; a second one ends the process at once."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may catch signals
        return

    def catch(number: int, frame: object) -> None:
        del frame
        request.signal = number
        os.write(2, _NOTICE)  # `print` may be the very function interrupted
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)  # at once, even in compiled code

    old = {each: signal.signal(each, catch) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for each, handler in old.items():
            signal.signal(each, handler)
