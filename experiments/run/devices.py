"""Devices for an experiment: treats the cores of a CPU as devices.

Each step of a recurrent network depends on the previous step, so it uses about one
core. If the batch is split over two devices, it uses two.
"""

import os
import signal
from typing import Any

import jax
import numpy as np

from experiments.errors import UserError
from jrnn.training import processes, stopping

AXIS = "batch"  # the name of the mesh axis
MIN_ROWS = 8  # minimum number of rows per device
PATIENCE = 60  # seconds until all processes must have started
HEARTBEAT = 25  # seconds of silence after which JAX aborts; `peers` ends a run before


def cores() -> int:
    """Returns the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare(devices: str) -> None:
    """Splits the CPU into several devices. Call it before JAX is first used."""
    number = cores() if devices == "auto" else int(devices)
    jax.config.update("jax_num_cpu_devices", number)


def connect(options: Any) -> None:
    """Connects processes that train together; `prepare` comes first.

    Raises:
      UserError: If process 0 does not answer.
    """
    if options.coordinator is None:
        return
    known = (
        {}
        if options.coordinator == "auto"
        else {
            "coordinator_address": options.coordinator,
            "num_processes": options.processes,
            "process_id": options.process,
        }
    )
    # JAX catches SIGTERM for a purpose of its own: keep the handlers of this program.
    handlers = {each: signal.getsignal(each) for each in stopping.EXIT_CODES}
    try:
        jax.distributed.initialize(
            **known,
            initialization_timeout=PATIENCE,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--coordinator {options.coordinator} did not connect all processes within "
            f"{PATIENCE} s: {error}"
        ) from None
    for each, handler in handlers.items():
        signal.signal(each, handler)


def is_silent() -> bool:
    """Whether another process shows the progress."""
    return not processes.is_first()


def mesh(devices: str, batch_size: int) -> jax.sharding.Mesh:
    """Returns the mesh of devices over which a batch is split, of all processes.

    Args:
      devices: The number of devices of each process, or "auto" for as many as possible
        with the same number of rows and at least eight rows each.
      batch_size: The number of rows.

    Raises:
      UserError: If there are fewer devices.
    """
    available, hosts = jax.local_device_count(), jax.process_count()
    if devices == "auto":
        even = [n for n in range(1, available + 1) if batch_size % (n * hosts) == 0]
        enough = [n for n in even if batch_size // (n * hosts) >= MIN_ROWS]
        number = max(enough, default=1)
    else:
        number = int(devices)
    if number > available:
        raise UserError(f"--devices is {number}, but only {available} are available.")
    own = [
        [device for device in jax.devices() if device.process_index == process][:number]
        for process in range(hosts)
    ]
    return jax.sharding.Mesh(np.array(own).reshape(-1), (AXIS,))


def describe(mesh: jax.sharding.Mesh) -> str:
    """Returns the number and the kind of the devices: `2 x cpu`."""
    kinds = {device.device_kind for device in mesh.devices.flat}
    return f"{mesh.size} x {', '.join(sorted(kinds))}"
