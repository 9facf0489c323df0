"""Handles Ctrl-C and SIGTERM as a request to stop."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

_NOTICE = b"\nStopping soon. Press Ctrl-C again to stop immediately.\n"


class Request:
    """Whether a stop was requested, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Catches the first Ctrl-C or SIGTERM. A second one ends the process."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may catch signals
        return

    def catch(number: int, frame: object) -> None:
        del frame
        request.signal = number
        os.write(2, _NOTICE)  # `print` may be the interrupted function
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(
                each, signal.SIG_DFL
            )  # ends the process, even in compiled code

    old = {each: signal.signal(each, catch) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for each, handler in old.items():
            signal.signal(each, handler)
