"""One of two processes that save an array that is split over both, and restore it."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

from jrnn.training import processes
from jrnn.training.checkpoints import Checkpoints
from tests.checkpoints import states


def main(folder: str, process: int) -> None:
    port = processes_port(folder)
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
    split = NamedSharding(jax.make_mesh((4,), ("d",)), P("d"))
    values = np.arange(32.0, dtype="float32").reshape(8, 4)
    w = jax.make_array_from_callback((8, 4), split, lambda at: values[at])
    with Checkpoints(folder, states.FACTS, sharded=True, keep=1) as store:
        store.save(1, {"w": w, "key": jax.random.key(4)})
        more = jax.jit(lambda w: w + 1)(w)
        store.save(2, {"w": more, "key": jax.random.key(5)})
        found = store.restore({"w": w, "key": jax.random.key(0)})
        assert found.tree["w"].sharding == split and found.step == 2
        np.testing.assert_array_equal(processes.to_host(found.tree["w"]), values + 1)
        bad = jax.jit(lambda w: jnp.where(w > 3, jnp.nan, w))(w)
        try:
            store.save(3, {"w": bad, "key": jax.random.key(6)})
        except Exception as error:
            assert "w is not finite" in str(error), error
        else:
            raise AssertionError("saved NaN")


def processes_port(folder: str) -> int:
    """Returns a port that both processes derive from the folder."""
    return 20000 + sum(map(ord, folder)) * 7919 % 20000


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
