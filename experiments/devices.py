"""Devices for an experiment: the cores of a CPU as devices that share a batch.

A recurrent network keeps one core busy: its steps wait for each other. Two halves of
the batch on two devices keep two busy.
"""

import os

import jax
import numpy as np

from experiments.errors import UserError

AXIS = "batch"  # of the mesh
MIN_ROWS = 8  # rows of the batch that are worth a device of their own


def cores() -> int:
    """Returns the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare(devices: str) -> None:
    """Has the CPU appear as several devices; call it before JAX is first used."""
    number = cores() if devices == "auto" else int(devices)
    jax.config.update("jax_num_cpu_devices", number)


def mesh(devices: str, batch_size: int) -> jax.sharding.Mesh:
    """Returns a mesh of the devices that share a batch.

    Args:
      devices: A number; or "auto" for as many as there are, as long as each gets the
        same number of rows and at least eight.
      batch_size: The number of rows.

    Raises:
      UserError: if there are fewer devices, or the rows cannot be shared equally.
    """
    there = jax.devices()
    if devices == "auto":
        shares = [n for n in range(1, len(there) + 1) if batch_size % n == 0]
        number = max([n for n in shares if batch_size // n >= MIN_ROWS], default=1)
    else:
        number = int(devices)
    if number > len(there):
        raise UserError(f"--devices {number}, but there are {len(there)}.")
    if batch_size % number:
        raise UserError(
            f"a batch of {batch_size} cannot be shared equally by {number} devices: "
            "change --batch-size or --devices."
        )
    return jax.sharding.Mesh(np.array(there[:number]), (AXIS,))


def describe(mesh: jax.sharding.Mesh) -> str:
    """Returns number and kind of the devices: `2 x cpu`."""
    kinds = {device.device_kind for device in mesh.devices.flat}
    return f"{mesh.size} x {', '.join(sorted(kinds))}"
