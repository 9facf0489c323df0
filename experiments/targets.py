"""Compiles programs for accelerators without having one, and counts their operations.

The compilers are in wheels of their own, which this environment may lack:

    pip install --no-deps --target WHEELS libtpu
    pip install --no-deps --target WHEELS nvidia-cuda-nvcc-cu12 \
        jax-cuda12-plugin==VERSION jax-cuda12-pjrt==VERSION    # the version of JAX
    export PYTHONPATH=WHEELS JAX_PLATFORMS=cpu

Nothing runs, so nothing is timed. XLA cannot try out matmuls: it takes its defaults.
"""

import functools
import importlib.util
import os
import re
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from experiments.errors import UserError

# libtpu asks the machine that it runs on for these, unless they are given.
WITHOUT_A_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no chip is used
}
WHEELS = {
    "tpu": ["libtpu"],
    "cuda": ["jax_cuda12_plugin", "jax_plugins.xla_cuda12", "nvidia.cuda_nvcc"],
}
H100 = """
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
# Operations that name or rename memory, or that end what another one began.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
FREE |= {"copy-done", "slice-done", "async-done"}
# Of a lowered program: what computes nothing by itself.
UNCOUNTED = {"stablehlo.constant", "stablehlo.return", "func.call", "func.return"}
# What holds a kernel of Pallas, in optimized and in lowered programs.
KERNEL = re.compile(
    r'(?:@|target=")(?:tpu_custom_call|mosaic_gpu)|triton_kernel_call"?'
)
_TOPOLOGY = re.compile(r"v\d+\w*:\d+(x\d+)+")
_REFERENCE = re.compile(r"(\w+)=%?([\w.\-]+)")  # body=%name
_CONSTANT = re.compile(r" constant\((\d+)\)")


class Loop(NamedTuple):
    """A loop of a program."""

    trips: int
    operations: int  # in one trip


class Program(NamedTuple):
    """What is counted in a program."""

    loops: list[Loop]  # in the order of the program
    kernels: int  # of Pallas
    bytes: int = 0  # of temporary memory, if it is compiled
    outside: int = 0  # operations outside of loops; a loop itself is one of them

    @property
    def total(self) -> int:
        """All operations of a run."""
        inside = sum(loop.trips * loop.operations for loop in self.loops)
        return self.outside - len(self.loops) + inside

    def per_step(self, time: int) -> float:
        """Returns the operations in loops, divided by the time steps."""
        return sum(loop.trips * loop.operations for loop in self.loops) / time


def platform(target: str) -> str:
    """Returns the platform of a target: "cpu", "cuda" for "h100", else "tpu".

    Raises:
      UserError: If the target is none of these.

    Example:
      >>> platform("h100"), platform("v5e:2x2"), platform("v4:2x2x1")
      ('cuda', 'tpu', 'tpu')
    """
    known = {"cpu": "cpu", "h100": "cuda"}
    if target not in known and not _TOPOLOGY.fullmatch(target):
        raise UserError(
            f"{target} is not a target: use h100, cpu, or a topology of TPUs such as "
            "v5e:2x2."
        )
    return known.get(target, "tpu")


def missing(target: str) -> str | None:
    """Says which wheel a target needs that is not here; None if all are."""
    for name in WHEELS.get(platform(target), []):
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # of the package around it
            found = None
        if found is None:
            return f"{target} needs the wheel of {name}: see {__name__}."
    return None


@functools.cache
def place(target: str) -> jax.sharding.Sharding:
    """Returns where the arrays of a program for a target are.

    Args:
      target: "cpu", "h100", or a topology of TPUs such as "v5e:2x2".

    Raises:
      UserError: if a wheel is missing, or there is no such topology.
    """
    if target == "cpu":
        return jax.sharding.SingleDeviceSharding(jax.devices("cpu")[0])
    reason = missing(target)
    if reason is not None:
        raise UserError(reason)
    how: dict[str, Any] = {"topology_name": target}
    if target == "h100":
        how = {"topology_name": "1x1x1", "topology": "1x1x1", "target_config": H100}
    for name, setting in WITHOUT_A_TPU.items():
        os.environ.setdefault(name, setting)
    try:
        found = topologies.get_topology_desc(platform=platform(target), **how)
    except Exception as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{target} is not a topology that JAX knows: {line}") from error
    return jax.sharding.SingleDeviceSharding(found.devices[0])


def compiled(target: str, function: Any, *shapes: Any) -> Program:
    """Compiles a function of trees of shapes for a target."""

    def typed(a: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place(target))

    made = jax.jit(function).lower(*jax.tree.map(typed, shapes)).compile()
    text = made.as_text() or ""
    analysis = made.memory_analysis()
    size = 0 if analysis is None else analysis.temp_size_in_bytes
    numbers = platform(target) == "cuda"  # others start no kernel for a number
    *_, entry = _computations(text).values()
    outside = sum(_counts(line, numbers) for line in entry)
    kernels = len(KERNEL.findall(text))
    return Program(loops(text, numbers=numbers), kernels, size, outside)


def loops(text: str, *, numbers: bool = True) -> list[Loop]:
    """Returns the loops of an optimized program.

    Every operation in a body counts, except those that only name memory. A body that
    holds a loop does not count itself.

    Args:
      text: The program, as XLA prints it.
      numbers: Whether operations count that return a single number.
    """
    parts, found = _computations(text), []
    *_, entry = parts.values()  # it comes last

    def named(line: str) -> dict[str, str]:
        return {key: name for key, name in _REFERENCE.findall(line) if name in parts}

    def holds(lines: list[str]) -> bool:
        every = (parts[name] for line in lines for name in named(line).values())
        return any(_operation(line) == "while" for line in lines) or any(
            map(holds, every)
        )

    def visit(lines: list[str]) -> None:
        for line in lines:
            names = named(line)
            if _operation(line) == "while" and not holds(parts[names["body"]]):
                known = re.findall(r'"known_trip_count":\{"n":"(\d+)"', line)
                condition = "\n".join(parts[names["condition"]])
                known = known or _CONSTANT.findall(condition)
                inside = sum(_counts(part, numbers) for part in parts[names["body"]])
                found.append(Loop(max(map(int, known), default=1), inside))
                continue
            for name in names.values():
                visit(parts[name])

    visit(entry)
    return found


def lowered(target: str, function: Any, *shapes: Any) -> Program:
    """Lowers a function of trees of shapes for a target, and optimizes nothing.

    Every operation of a body counts, also those of functions that it calls, except
    constants and what ends a region. A body that holds a loop does not count itself.
    """
    traced = jax.jit(function).trace(*shapes)
    module: Any = traced.lower(lowering_platforms=(platform(target),)).compiler_ir()
    functions = {made.name.value: made for made in module.body.operations}
    found: list[Loop] = []

    def every(region: Any, into_loops: bool = True) -> list[Any]:
        """Returns the operations of a region, and of all regions within it."""
        operations = []
        for inner in (inner for block in region.blocks for inner in block.operations):
            operations.append(inner)
            parts = list(inner.operation.regions)
            if inner.operation.name == "stablehlo.while" and not into_loops:
                continue
            if inner.operation.name == "func.call":
                callee = functions[inner.attributes["callee"].value]
                parts = list(callee.operation.regions)
            operations += [deep for part in parts for deep in every(part, into_loops)]
        return operations

    main = functions["main"].operation.regions[0]
    names = [inner.operation.name for inner in every(main, into_loops=False)]
    outside = sum(name not in UNCOUNTED for name in names)
    for operation in every(main):
        if operation.operation.name == "stablehlo.while":
            condition, body = map(every, operation.operation.regions)
            names = [inner.operation.name for inner in body]
            if "stablehlo.while" in names:
                continue
            numbers = re.findall(
                r"constant dense<(\d+)>", " ".join(map(str, condition))
            )
            trips = max(map(int, numbers), default=1)
            found.append(Loop(trips, sum(name not in UNCOUNTED for name in names)))
    return Program(found, len(KERNEL.findall(str(module))), 0, outside)


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


def _counts(line: str, numbers: bool) -> bool:
    single = re.search(r" = \w+\[\]", line) is not None
    return _operation(line) not in FREE and (numbers or not single)


def _operation(line: str) -> str:
    """Returns the name of the operation that a line `%name = type name(...)` holds."""
    rest = line.split(" = ", 1)[1]
    if not rest.startswith("("):
        return rest.split()[1].split("(")[0]
    while rest.startswith("("):  # the type is a tuple, which may hold others
        rest = re.sub(r"\([^()]*\)", "", rest, count=1)
    return rest.split("(")[0].strip()
