"""Batches that are sharded over the devices of a mesh, on one or more machines."""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jrnn import checks, options
from jrnn.storage import trees
from jrnn.training import processes
from jrnn.types import Array
from jrnn.values import value


@value
class BatchSplit:
    """A batch whose rows are sharded over one axis of a mesh.

        device d of n computes the rows  d * k, ..., d * k + k - 1,    k = ceil(B / n)

    If the batch size is not divisible by n, the batch is padded with rows of zeros,
    which `mask` excludes from the loss. So the mean and the gradient are the same for
    any number of devices.

    Attributes:
      batch_size: The number of rows of the whole batch, B.
      mesh: The devices, of all processes.
      axis: The name of the axis of the mesh.

    Example:
      >>> import jax, numpy as np
      >>> split = BatchSplit(3, jax.make_mesh((2,), ("batch",)))
      >>> batch, mask = split.place({"x": np.ones((3, 5), "float32")})
      >>> batch["x"].shape, mask.tolist()
      ((4, 5), [True, True, True, False])
    """

    batch_size: int
    mesh: Mesh
    axis: str = "batch"

    def __post_init__(self) -> None:
        options.check(self)
        checks.one_of("axis", self.axis, self.mesh.shape)

    @property
    def rows(self) -> int:
        """The number of rows with padding."""
        devices = self.mesh.shape[self.axis]
        return math.ceil(self.batch_size / devices) * devices

    @property
    def own(self) -> np.ndarray:
        """The rows of the whole batch that this process passes to `place`, sorted.

        With several processes, each needs to compute only these rows of the batch.
        """
        own = self._all_own()
        return own[own < self.batch_size]

    def place(self, batch: Any) -> tuple[Any, Array]:
        """Pads the rows of this process and puts them on the devices.

        Args:
          batch: A tree of arrays [rows in `own`, ...].

        Returns:
          The tree of arrays [rows, ...], split over the devices, and a mask [rows] that
          is False for padding. Broadcast the mask over time: `mask[:, None] & ...`.

        Raises:
          ValueError: If an array has another number of rows.
        """
        own, all_own = len(self.own), self._all_own()
        for name, leaf in checks.named_leaves("batch", batch).items():
            if np.ndim(leaf) == 0 or np.shape(leaf)[0] != own:
                raise ValueError(
                    f"{name} must have the {own} rows of this process on its first "
                    f"axis, got the shape {list(np.shape(leaf))}. Select them with "
                    "`array[split.own]`."
                )
        place = np.full(self.rows, -1)
        place[all_own] = np.arange(len(all_own))

        def put(leaf: Any) -> jax.Array:
            host = np.asarray(leaf)
            pad = [(0, len(all_own) - own)] + [(0, 0)] * (host.ndim - 1)
            padded = np.pad(host, pad)

            def rows(at: Any) -> np.ndarray:
                return padded[place[at[0]]]

            shape = (self.rows, *host.shape[1:])
            return jax.make_array_from_callback(shape, self._sharding, rows)

        return jax.tree.map(put, batch), put(np.ones(own, bool))

    def gather(self, placed: Any) -> Any:
        """Undoes `place`: returns the rows of the whole batch, on every process.

        Use it to save a state that is carried from batch to batch, so that it can be
        restored on another number of devices.

        Args:
          placed: A tree of arrays [rows, ...], as `place` returns it.

        Returns:
          A tree of numpy arrays [batch_size, ...].

        Example:
          >>> import jax, numpy as np
          >>> split = BatchSplit(3, jax.make_mesh((2,), ("batch",)))
          >>> split.gather(split.place(np.arange(3))[0]).tolist()
          [0, 1, 2]
        """
        return jax.tree.map(
            lambda leaf: processes.to_host(leaf)[: self.batch_size], placed
        )

    @property
    def _sharding(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(self.axis))

    def _all_own(self) -> np.ndarray:
        """Returns the rows of this process, padding included."""
        shape = (self.rows,)
        slices = self._sharding.addressable_devices_indices_map(shape).values()
        return np.unique(np.concatenate([np.arange(self.rows)[at] for at in slices]))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Copies a tree to every device of a mesh. All processes pass equal values.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = replicate({"w": jnp.ones(3)}, jax.make_mesh((2,), ("batch",)))
      >>> len(params["w"].devices())
      2
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: trees.place(leaf, everywhere), tree)
