"""What the first of several processes does when it fails."""

import json

import jax
import pytest

from jrnn.training import processes


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: object(), TypeError, "not JSON serializable"),
        (lambda: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_the_others_are_told_that_the_first_failed(monkeypatch, action, error, message):
    told = []

    def broadcast(data):
        told.append(json.loads(data))
        return data

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(processes, "broadcast", broadcast)
    with pytest.raises(error, match=message):
        processes.on_first(action)
    assert [list(outcome) for outcome in told] == [["error"]]
