"""Stops a training loop between two updates when the process is asked to end.

exit code   meaning
0           the training is finished
75          SIGTERM: saved, can be resumed (EX_TEMPFAIL of sysexits.h)
130         SIGINT, that is Ctrl-C: saved
-15, -2     a second signal ended the process at once; the last checkpoint is whole
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from jrnn.training import processes

EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}
_NOTICE = b"\nStopping soon. Press Ctrl-C again to stop immediately.\n"


class StopRequest:
    """Whether a stop was requested: true after a signal.

    Attributes:
      signal: The number of the signal; None before it.

    Example:
      >>> with stop_requests() as request:
      ...     bool(request), request.signal
      (False, None)
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """The exit code for `sys.exit`, after the state was saved."""
        return 0 if self.signal is None else EXIT_CODES[signal.Signals(self.signal)]

    def anywhere(self) -> bool:
        """Whether any process was asked to stop; the same on every process.

        Call it on every process after the same update. Then all of them save the same
        step. It costs one small collective, so call it every few updates.
        """
        heard = processes.gather([self.signal or 0])[:, 0]
        if self.signal is None and heard.any():
            self.signal = int(heard[heard > 0][0])
        return self.signal is not None


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turns the first SIGTERM or Ctrl-C into a request; a second one ends the process.

    Outside of the main thread, which alone receives signals, there are no requests.
    Call `jax.distributed.initialize` before it, because that catches SIGTERM too.

    Example:
      >>> import os, signal
      >>> with stop_requests() as stop:
      ...     for step in range(5):  # update the parameters here, then
      ...         if step == 2:
      ...             os.kill(os.getpid(), signal.SIGTERM)
      ...         if stop:
      ...             break  # save here, then `sys.exit(stop.exit_code)`
      >>> step, stop.exit_code
      (2, 75)
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def catch(number: int, frame: object) -> None:
        del frame
        request.signal = number
        with contextlib.suppress(OSError):
            os.write(2, _NOTICE)  # `print` may be the interrupted function
        for each in EXIT_CODES:  # ends the process, even in compiled code
            signal.signal(each, signal.SIG_DFL)

    old = {each: signal.signal(each, catch) for each in EXIT_CODES}
    try:
        yield request
    finally:
        for each, handler in old.items():
            signal.signal(each, handler)
