"""Compiles programs for an H100 without a GPU, and counts what they launch.

It takes three wheels of the version of the installed JAX, in a folder of their own: in
the environment itself, they would change what every other test sees.

    pip install --no-deps --target CUDA jax-cuda12-plugin==VERSION \
        jax-cuda12-pjrt==VERSION nvidia-cuda-nvcc-cu12
    PYTHONPATH=CUDA JAX_PLATFORMS=cpu python -m pytest -n0 -m slow tests/aot
    PYTHONPATH=CUDA JAX_PLATFORMS=cpu python -m tests.aot

The first runs the tests, the second prints a table. No program runs, and nothing is
timed. XLA cannot try out kernels of matmuls without a GPU: it takes its defaults.
"""

import functools
import importlib.util
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen
from jax.experimental import topologies

import jrnn

WHEELS = ["jax_cuda12_plugin", "jax_plugins.xla_cuda12", "nvidia.cuda_nvcc"]
TARGET = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 12 minor: 9 }
gpu_device_info {
  cuda_compute_capability { major: 9 }
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  clock_rate_ghz: 1.98
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  device_memory_size: 84942979072
}
"""
# Operations that name or rename memory, and launch nothing.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}


class Program(NamedTuple):
    """What is counted in a compiled program."""

    loops: list[tuple[int, int]]  # steps in the sequence, kernels launched by a trip
    bytes: int  # of temporary memory
    text: str

    def per_step(self, time: int) -> float:
        """Returns the kernels launched in loops, divided by the time steps."""
        return sum(trips * kernels for trips, kernels in self.loops) / time


def missing() -> str | None:
    """Says which wheel is missing; None if all are there."""
    for name in WHEELS:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # of the package around it
            found = None
        if found is None:
            return f"needs {name}, see {__name__}"
    return None


@functools.cache
def place() -> jax.sharding.Sharding:
    """Returns where the arrays of a program for an H100 are."""
    one = {"topology_name": "1x1x1", "topology": "1x1x1"}
    h100 = topologies.get_topology_desc(platform="cuda", target_config=TARGET, **one)
    return jax.sharding.SingleDeviceSharding(h100.devices[0])


def compile_for_h100(function: Any, *shapes: Any) -> Program:
    """Compiles a function of trees of shapes."""

    def typed(a: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place())

    lowered = jax.jit(function).lower(*jax.tree.map(typed, shapes))
    compiled = lowered.compile()
    text = compiled.as_text()
    size = compiled.memory_analysis().temp_size_in_bytes
    return Program(loops(text), size, text)


def gradient(
    cell: Any,
    method: Any = "auto",
    sizes: tuple[int, int, int] = (128, 32, 64),
    dtype: str = "float32",
    reset: bool = False,
    **how: Any,
) -> Program:
    """Compiles a value with its gradients, of parameters and inputs.

    Args:
      cell: What to run; a cell of jrnn, or of Flax.
      method: The method of `jrnn.scan`.
      sizes: Time, batch, input features.
      dtype: Of parameters and inputs.
      reset: Whether there are flags of restarts.
      **how: Other options of `jrnn.scan`.
    """
    time, batch, features = sizes
    xs = jax.ShapeDtypeStruct((batch, time, features), dtype)
    flags = jnp.zeros((batch, time), bool) if reset else None
    if isinstance(cell, linen.RNNCellBase):
        params = jax.eval_shape(linen.RNN(cell).init, jax.random.key(0), xs)
    else:
        params = jax.eval_shape(
            functools.partial(cell.init, input_size=features, dtype=dtype),
            jax.random.key(0),
        )

    def loss(params: Any, xs: Any, flags: Any) -> jax.Array:
        if isinstance(cell, linen.RNNCellBase):
            ys = linen.RNN(cell).apply(params, xs)
        else:
            given = {"method": method, "reset": flags, **how}
            ys = jrnn.scan(cell, params, None, xs, **given)[1]
        return jnp.sum(ys.astype("float32"))

    both = jax.value_and_grad(loss, argnums=(0, 1))
    return compile_for_h100(both, params, xs, flags)


def loops(text: str) -> list[tuple[int, int]]:
    """Returns the trips of each loop, and the kernels that a trip launches.

    Every operation of a body launches one, except those that only name memory.
    """
    bodies, found = _computations(text), []
    for lines in bodies.values():
        for line in lines:
            if _operation(line) == "while":
                match = re.search(r"body=%?([\w.\-]+)", line)
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
                assert match and trips, line
                kinds = [_operation(inner) for inner in bodies[match[1]]]
                assert "while" not in kinds and "conditional" not in kinds, line
                launched = sum(kind not in FREE for kind in kinds)
                found.append((int(trips[1]), launched))
    return found


def _computations(text: str) -> dict[str, list[str]]:
    """Returns the lines of each computation by its name."""
    found: dict[str, list[str]] = {}
    name = None
    for line in text.splitlines():
        opened = re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{$", line)
        if opened:
            name = opened[1]
            found[name] = []
        elif line.startswith("}"):
            name = None
        elif name and " = " in line:
            found[name].append(line.strip())
    return found


def _operation(line: str) -> str:
    """Returns the name of the operation that a line `%name = type name(...)` holds."""
    rest = line.split(" = ", 1)[1]
    if not rest.startswith("("):
        return rest.split()[1].split("(")[0]
    while rest.startswith("("):  # the type is a tuple, which may hold others
        rest = re.sub(r"\([^()]*\)", "", rest, count=1)
    return rest.split("(")[0].strip()
