"""Programs that run as several processes, one per machine, under `jax.distributed`.

All processes run the same program and call these functions in the same order. With one
process they do nothing. `jax.distributed.initialize()` connects the processes.
"""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_BLOCK = 16 << 20  # bytes of a broadcast


class ProcessError(RuntimeError):
    """The processes of a program disagree, or one of them failed."""


def is_first() -> bool:
    """Whether this is process 0, which writes files and shows progress."""
    return jax.process_index() == 0


def broadcast(data: bytes) -> bytes:
    """Returns the bytes that process 0 passed; the others pass anything.

    Example:
      >>> broadcast(b"text")
      b'text'
    """
    if jax.process_count() == 1:
        return data
    size = int.from_bytes(_send(len(data).to_bytes(8, "little"), 8), "little")
    blocks = [
        _send(data[begin : begin + _BLOCK], min(_BLOCK, size - begin))
        for begin in range(0, size, _BLOCK)
    ]
    return b"".join(blocks)


def on_first(action: Callable[[], Any], error: type[Exception] = ProcessError) -> Any:
    """Runs a function on process 0 only, and returns its result on every process.

    Args:
      action: Returns a value that JSON can hold.
      error: What the other processes raise if the function raises.

    Raises:
      Exception: On process 0, what the function raises; on the others, `error` with
        the same message.
    """
    if jax.process_count() == 1:
        return action()
    outcome: dict[str, Any] = {}
    raised: BaseException | None = None
    if is_first():
        try:
            outcome = {"value": action()}
        except Exception as exception:
            raised, outcome = exception, {"error": str(exception)}
    outcome = json.loads(broadcast(json.dumps(outcome).encode()))
    if raised is not None:
        raise raised
    if "error" in outcome:
        raise error(f"process 0 failed: {outcome['error']}")
    return outcome["value"]


def to_host(array: Any) -> np.ndarray:
    """Returns the whole value of an array that may be split over processes."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return np.asarray(array)
    if array.is_fully_replicated:
        return np.asarray(array.addressable_data(0))
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def _send(data: bytes, size: int) -> bytes:
    buffer = np.zeros(size, np.uint8)
    if is_first():
        buffer[:] = np.frombuffer(data, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(buffer), np.uint8).tobytes()
