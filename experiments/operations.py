"""Counts what programs do in each time step: a table of `docs/devices.md`."""

import dataclasses
import functools
import importlib.util
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

import jrnn
from experiments import targets
from experiments.bench.config import CELLS, require_known, size_of
from experiments.command_line import parse
from experiments.errors import refuse
from experiments.run.options import out_of_range

_ABOUT = """Counts the operations of loops, for each time step, on accelerators.

No accelerator is needed. Where the compiler of a target is installed, the optimized
program counts, else the lowered one; experiments/targets.py says how to install them.
On a GPU, each operation of an optimized program starts a kernel."""
# Name, and peer and method that build it.
PROGRAMS = {
    "plain scan": ("jrnn", "scan"),
    "gated kernel": ("jrnn", "gated"),
    "Pallas kernel": ("jrnn", "pallas"),
    "Flax": ("linen", ""),
}

ORDERS = ("scan", "associative", "chunk", "pallas")


@dataclasses.dataclass(frozen=True)
class Operations:
    """Options of the command."""

    targets: tuple[str, ...] = ("v5e:2x2", "h100")
    """Topologies of TPUs, h100, or cpu."""

    cells: tuple[str, ...] = CELLS
    """Any of lstm, gru and elman."""

    size: str = "A"
    """A letter of the benchmark's sizes, or time,batch,inputs,hidden."""

    steps: int = 4096
    """Time steps of the linear recurrence, of 16 rows of 64 features."""

    optimized: bool = True
    """Whether to compile programs where a compiler is installed; slow."""


def main(prog: str, arguments: list[str]) -> int:
    """Prints the table."""
    config = parse(Operations, prog, arguments, description=_ABOUT)
    refuse(out_of_range(config, {"steps": 1}))
    require_known("cells", config.cells, CELLS)
    for target in config.targets:
        targets.platform(target)  # says if there is no such target
    size = size_of(config.size, "size")
    for kind, some in sources(config).items():
        if some:
            print(f"{kind.capitalize()} programs: {', '.join(some)}.")
    print(f"Size {', '.join(map(str, size))} (time, batch, inputs, units).\n")
    for row in rows(config):
        print(f"| {' | '.join(row)} |", flush=True)
    print(f"\nAll operations of a linear recurrence of {config.steps} steps:\n")
    for row in recurrence(config):
        print(f"| {' | '.join(row)} |", flush=True)
    return 0


def sources(config: Operations) -> dict[str, list[str]]:
    """Returns of which targets optimized and lowered programs are counted."""
    have = [
        config.optimized and targets.missing(target) is None
        for target in config.targets
    ]
    pairs = list(zip(config.targets, have, strict=True))
    return {
        "optimized": [target for target, flag in pairs if flag],
        "lowered": [target for target, flag in pairs if not flag],
    }


def rows(config: Operations) -> Iterator[list[str]]:
    """Yields the rows of the table, as cells of text."""
    head = ["cell", "program"]
    for target in config.targets:
        head += [f"{target}: values", f"{target}: forward + backward"]
    yield from (head, ["---"] * len(head))
    optimized = sources(config)["optimized"]
    for cell in config.cells:
        for name, (peer, method) in PROGRAMS.items():
            row = [cell, name]
            for target in config.targets:
                row += _counted(config, peer, method, cell, target, target in optimized)
            yield row


# JAX 0.12 asks which card a kernel of Triton is lowered for.
_CARD = jax.sharding.AbstractMesh(
    (1,),
    ("card",),
    (jax.sharding.AxisType.Auto,),
    abstract_device=jax.sharding.AbstractDevice("NVIDIA H100", 132, "gpu"),
)


def _lowered(*args: Any) -> targets.Program:
    with jax.sharding.use_abstract_mesh(_CARD):
        return targets.lowered(*args)


def recurrence(config: Operations) -> Iterator[list[str]]:
    """Yields the rows of the table of `jrnn.linear_recurrence`, as cells of text."""
    head = ["method"]
    for target in config.targets:
        head += [f"{target}: values", f"{target}: with gradients"]
    yield from (head, ["---"] * len(head))
    shape = jax.ShapeDtypeStruct((16, config.steps, 64), jnp.float32)
    optimized = sources(config)["optimized"]
    for method in ORDERS:
        run = functools.partial(jrnn.linear_recurrence, method=method)

        def loss(a: jax.Array, b: jax.Array, run: Any = run) -> jax.Array:
            return jnp.sum(run(a, b) ** 2)

        row = [method]
        for target in config.targets:
            count = targets.compiled if target in optimized else _lowered
            for function in (run, jax.value_and_grad(loss, (0, 1))):
                row.append(f"{count(target, function, shape, shape).total}")
        yield row


def _counted(
    config: Operations, peer: str, method: str, cell: str, target: str, optimize: bool
) -> list[str]:
    """Returns the operations of a step, of the values and of the gradients."""
    size = size_of(config.size)
    if peer != "jrnn" and importlib.util.find_spec("flax") is None:
        return ["-", "-"]
    built = importlib.import_module(f"experiments.bench.peers.{peer}")
    run, *arrays = built.build(cell, size, method)
    shapes = jax.eval_shape(lambda: arrays)

    def loss(params: Any, xs: Any) -> jax.Array:
        return jnp.sum(run(params, xs) ** 2)

    both = jax.value_and_grad(loss, (0, 1))
    return [_text(target, f, shapes, size.time, optimize) for f in (run, both)]


def _text(target: str, function: Any, shapes: Any, time: int, optimize: bool) -> str:
    """Returns the operations of each loop by time step, or the number of kernels."""
    count = targets.compiled if optimize else targets.lowered
    try:
        loops, kernels = count(target, function, *shapes)[:2]
    except ValueError:  # such as a kernel for another platform
        return "-"
    if kernels and not loops:
        return f"{kernels} kernel{'s'[: kernels - 1]}"
    return " + ".join(f"{loop.trips * loop.operations / time:.3g}" for loop in loops)
