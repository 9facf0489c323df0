"""Signals become requests, and a second signal ends the process."""

import os
import signal
import threading

import pytest

from jrnn.training.stopping import stop_requests


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)], ids=str
)
def test_the_first_signal_is_a_request(number, code, capfd):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with stop_requests() as stop:
        assert not stop and not stop.anywhere() and stop.exit_code == 0
        os.kill(os.getpid(), number)
        assert stop and stop.anywhere()
        assert stop.signal == number and stop.exit_code == code
        for each in (signal.SIGINT, signal.SIGTERM):
            assert signal.getsignal(each) == signal.SIG_DFL
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert after == before
    assert "again to stop immediately" in capfd.readouterr().err


def test_other_threads_have_no_requests():
    seen = []

    def enter():
        with stop_requests() as stop:
            seen.append(bool(stop))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]
