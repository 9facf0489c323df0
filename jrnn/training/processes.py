"""Programs that run as several processes, one per machine, under `jax.distributed`.

All processes run the same program and call these functions in the same order. With one
process they do nothing. `jax.distributed.initialize()` connects the processes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jrnn.training.differences import differences

_BLOCK = 16 << 20  # bytes of a broadcast
_DISAGREE = "{name} is {new} instead of {old}"


class ProcessError(RuntimeError):
    """The processes of a program disagree, or one of them failed."""


def is_first() -> bool:
    """Returns whether this is process 0, which writes files and shows progress.

    Example:
      >>> is_first()  # the only process
      True
    """
    return jax.process_index() == 0


def broadcast(data: bytes) -> bytes:
    """Returns the bytes that process 0 passes; those of other processes are ignored.

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

    Example:
      >>> on_first(lambda: 3)
      3
    """
    if jax.process_count() == 1:
        return action()
    text, raised = "", None
    if is_first():
        try:
            text = json.dumps({"value": action()})
        except Exception as exception:  # also of a value that JSON cannot hold
            raised, text = exception, json.dumps({"error": str(exception)})
    outcome: dict[str, Any] = json.loads(broadcast(text.encode()))
    if raised is not None:
        raise raised
    if "error" in outcome:
        raise error(f"process 0 failed: {outcome['error']}")
    return outcome["value"]


def together(action: Callable[[], Any], error: type[Exception] = ProcessError) -> Any:
    """Runs a function on every process; if it raises on one, all raise.

    Without this, the others would wait for the one that raised.

    Args:
      action: Its result is returned. It must not communicate.
      error: What the processes raise on which the function did not.

    Raises:
      Exception: What the function raises, or `error` with the message of another.

    Example:
      >>> together(lambda: 3)
      3
    """
    if jax.process_count() == 1:
        return action()
    raised, result = None, None
    try:
        result = action()
    except Exception as exception:
        raised = exception
    messages = _gather_texts("" if raised is None else str(raised) or repr(raised))
    if raised is not None:
        raise raised
    for process, message in enumerate(messages):
        if message:
            raise error(f"process {process} failed: {message}")
    return result


def agree(facts: Mapping[str, Any]) -> None:
    """Raises on every process unless all of them pass equal facts.

    Call it before the first update with all that must be equal: the configuration, a
    fingerprint of the data, the step. It compares hashes, and facts if these differ.

    Args:
      facts: Nested dictionaries of plain values.

    Raises:
      ProcessError: If they differ. The message lists every difference.

    Example:
      >>> agree({"config": {"hidden_size": 4}, "step": 0})
    """
    text = json.dumps(facts, sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    digests = gather(np.frombuffer(digest, np.uint8))
    if (digests == digests[0]).all():
        return
    first, *others = map(json.loads, _gather_texts(text))
    found = [
        f"process {process}: {sentence}"
        for process, other in enumerate(others, 1)
        for sentence in differences(first, other, _DISAGREE).values()
    ]
    raise ProcessError(
        "the processes do not agree, so nothing was computed. Compared with process 0, "
        f"{'; '.join(found)}. Start all of them with the same options and data."
    )


def gather(values: Any) -> np.ndarray:
    """Returns the small integers of every process, [processes, ...].

    Example:
      >>> gather([3]).tolist()
      [[3]]
    """
    own = np.asarray(values, np.int32)
    if jax.process_count() == 1:
        return own[None]
    return np.asarray(multihost_utils.process_allgather(own))


def _gather_texts(text: str) -> list[str]:
    data = np.frombuffer(text.encode(), np.uint8)
    sizes = gather([len(data)])[:, 0]
    padded = np.pad(data, (0, int(max(sizes)) - len(data)))
    rows = gather(padded).astype(np.uint8)
    return [
        row[:size].tobytes().decode() for row, size in zip(rows, sizes, strict=True)
    ]


def to_host(array: Any) -> np.ndarray:
    """Returns the whole value of an array that may be sharded over processes.

    Example:
      >>> import jax.numpy as jnp
      >>> to_host(jnp.ones(3)).tolist()
      [1.0, 1.0, 1.0]
    """
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
