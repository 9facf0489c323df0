"""Builds the call that is timed from a JAX function."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from experiments.bench.config import Size


def prepare(
    library: str, method: str, devices: int, cell: str, mode: str, size: Size
) -> tuple[Callable[[], Any], Callable[[], int | None]]:
    """Returns the call to time, and a function that returns its temporary bytes."""
    if size.batch % devices:
        raise ValueError(
            f"a batch of {size.batch} is not divisible by {devices} devices"
        )
    jax.config.update("jax_num_cpu_devices", devices)
    peer = importlib.import_module(f"experiments.bench.peers.{library}")
    if mode == "sampler":
        return _calls(*peer.sampler(size))
    run, params, xs = peer.build(cell, size, method)

    def loss(params: Any, xs: Any) -> jax.Array:
        return jnp.sum(run(params, xs) ** 2)

    functions = {
        "forward": run,
        "gradient": jax.grad(loss),
        "gradient-inputs": jax.grad(loss, (0, 1)),
    }
    if devices > 1:
        function, xs = _split(run, mode, devices, xs)
    else:
        function = functions[mode]
    return _calls(function, params, xs)


def _calls(
    function: Any, *args: Any
) -> tuple[Callable[[], Any], Callable[[], int | None]]:
    compiled = jax.jit(function)

    def call() -> None:
        jax.block_until_ready(compiled(*args))

    def temporary() -> int | None:
        analysis = compiled.lower(*args).compile().memory_analysis()
        return None if analysis is None else analysis.temp_size_in_bytes

    return call, temporary


def _split(run: Any, mode: str, devices: int, xs: Any) -> tuple[Any, Any]:
    """Splits the batch, the first axis of the inputs, over devices."""
    mesh = jax.make_mesh((devices,), ("batch",))
    rows, whole = PartitionSpec("batch"), PartitionSpec()

    def part(params: Any, xs: Any) -> Any:
        def loss(params: Any, xs: Any) -> jax.Array:
            return jnp.sum(run(params, xs) ** 2)

        if mode == "forward":
            return run(params, xs)
        if mode == "gradient":
            return jax.lax.psum(jax.grad(loss)(params, xs), "batch")
        gradients, of_xs = jax.grad(loss, (0, 1))(params, xs)
        return jax.lax.psum(gradients, "batch"), of_xs

    out = {"forward": rows, "gradient": whole, "gradient-inputs": (whole, rows)}[mode]
    # With check_vma=True, the sum over devices would run at every time step.
    function = jax.shard_map(
        part, mesh=mesh, in_specs=(whole, rows), out_specs=out, check_vma=False
    )
    return function, jax.device_put(xs, jax.sharding.NamedSharding(mesh, rows))
