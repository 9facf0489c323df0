"""Devices for an experiment: treats the cores of a CPU as devices.

Each step of a recurrent network depends on the previous step, so it uses about one
core. If the batch is split over two devices, it uses two.
"""

import os

import jax
import numpy as np

from experiments.errors import UserError

AXIS = "batch"  # the name of the mesh axis
MIN_ROWS = 8  # minimum number of rows per device


def cores() -> int:
    """Returns the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare(devices: str) -> None:
    """Splits the CPU into several devices. Call it before JAX is first used."""
    number = cores() if devices == "auto" else int(devices)
    jax.config.update("jax_num_cpu_devices", number)


def mesh(devices: str, batch_size: int) -> jax.sharding.Mesh:
    """Returns the mesh of devices over which a batch is split.

    Args:
      devices: A number, or "auto" for as many devices as possible with the same number
        of rows and at least eight rows each.
      batch_size: The number of rows.

    Raises:
      UserError: If there are fewer devices, or the rows cannot be split evenly.
    """
    available = jax.devices()
    if devices == "auto":
        even = [n for n in range(1, len(available) + 1) if batch_size % n == 0]
        number = max([n for n in even if batch_size // n >= MIN_ROWS], default=1)
    else:
        number = int(devices)
    if number > len(available):
        raise UserError(f"--devices {number}, but there are {len(available)}.")
    if batch_size % number:
        raise UserError(
            f"a batch of {batch_size} cannot be split evenly over {number} devices: "
            "change --batch-size or --devices."
        )
    return jax.sharding.Mesh(np.array(available[:number]), (AXIS,))


def describe(mesh: jax.sharding.Mesh) -> str:
    """Returns the number and the kind of the devices: `2 x cpu`."""
    kinds = {device.device_kind for device in mesh.devices.flat}
    return f"{mesh.size} x {', '.join(sorted(kinds))}"
