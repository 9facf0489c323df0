"""`bench --device`: every method on an accelerator, beside torch (cuDNN) and Flax.

First every method is compared with the plain scan, in values and gradients. Those that
agree are timed. All peers share one process and take turns, as a process can own a TPU.
"""

import functools
import importlib.util
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.bench import device_page, profiles, report, rounds
from experiments.bench.config import OnDevice, Size, size_of, split_peer
from experiments.bench.peers import jrnn as ours
from experiments.bench.rounds import Row
from experiments.bench.worker import timed
from experiments.errors import UserError

CHECKED = Size(37, 19, 21, 100)  # no size is a multiple of a tile
EXACT = 1e-4  # largest error of float32, computed in float32
INEXACT = 2e-2  # the same, of matmuls whose inputs are rounded, as to TF32
ROUNDED = 2.0  # largest error of bfloat16, in errors of the plain scan


class Call(NamedTuple):
    """What is timed."""

    run: Callable[[], Any]
    first: float  # seconds to compile
    temporary: Callable[[], int | None]  # bytes


def main(config: OnDevice, command: str) -> int:
    """Checks, times and reports; returns 1 if a method is wrong."""
    device = _device(config.device)
    results = report.circumstances(command) | {
        "device": device.device_kind,
        "precision": precision(config, device),
        "settings": {"rounds": config.rounds, "calls": config.calls},
        "checks": [],
        "rows": [],
    }
    with jax.default_device(device), jax.default_matmul_precision(config.precision):
        for cell, dtype in itertools.product(config.cells, config.dtypes):
            results["checks"] += checks(config.peers, cell, dtype)
        wrong = {
            (row["cell"], row["dtype"], row["peer"]): row["error"]
            for row in results["checks"]
            if not row["agrees"]
        }
        for line in device_page.checks(results["checks"]):
            print(line)
        kinds = (config.cells, config.dtypes, config.sizes, config.modes)
        for cell, dtype, text, mode in itertools.product(*kinds):
            peers = [peer for peer in config.peers if (cell, dtype, peer) not in wrong]
            rows = _group(config, peers, cell, mode, dtype, size_of(text), device)
            results["rows"] += [{**row, "size": text} for row in rows]
            print(f"\n{cell} {mode} {dtype} at {text}", flush=True)
            print(report.terminal_table(rows, config.base), flush=True)
            device_page.write(config.out, results)
    for line in device_page.verdicts(results["rows"]):
        print(line)
    return int(any(row["wrong"] for row in results["checks"]))


def _device(name: str) -> Any:
    try:
        return jax.devices(name)[0]
    except RuntimeError as error:
        raise UserError(
            f"--device {name} is not available: JAX only has {jax.default_backend()} "
            "devices here. Install `jax[cuda12]` or `jax[tpu]` on a machine with such "
            "a device, or use --compile-for."
        ) from error


def precision(config: OnDevice, device: Any) -> str:
    """Returns the precision of float32 matmuls, in words."""
    if config.precision in ("highest", "float32"):
        return "float32 (highest)"
    rounding = {"gpu": "TF32 on cards that have it", "tpu": "bfloat16"}
    return f"{config.precision}: {rounding.get(device.platform, 'float32')}"


def checks(peers: tuple[str, ...], cell: str, dtype: str) -> list[Row]:
    """Compares methods of jrnn with the plain scan in float32, values and gradients."""

    @functools.cache
    def exact(resets: bool) -> Any:
        return _values(cell, "scan", "float32", rounded=dtype, resets=resets)

    allowed, found = EXACT, []
    if dtype != "float32":
        coarse = _values(cell, "scan", dtype, rounded=dtype)
        allowed = ROUNDED * _error(coarse, exact(True))
    for peer in peers:
        library, method, _ = split_peer(peer)
        if library != "jrnn":
            continue
        row: Row = {"cell": cell, "dtype": dtype, "peer": peer}
        resets = method != "cudnn"  # it takes none
        # A kernel that always rounds float32 refuses to be exact.
        ways = {"highest": allowed, "default": max(allowed, INEXACT)}
        for precision, bound in ways.items():
            try:
                how: Any = {"rounded": dtype, "resets": resets, "precision": precision}
                values = _values(cell, method, dtype, **how)
            except Exception as refused:  # by jrnn or by a compiler
                row |= {"error": _line(refused), "agrees": False, "wrong": False}
                continue
            error = _error(values, exact(resets))
            agrees = error <= bound
            row |= {"error": error, "agrees": agrees, "wrong": not agrees}
            row["allowed"] = bound
            break
        found.append(row)
    return found


def _values(
    cell: str,
    method: str,
    dtype: str,
    *,
    rounded: str,
    resets: bool = True,
    precision: str = "highest",
) -> Any:
    """Returns outputs, final state and gradients, as float32. Rows have lengths."""
    made = ours.CELLS[cell](CHECKED.hidden)
    params = made.init(jax.random.key(0), CHECKED.inputs)
    shape = (CHECKED.batch, CHECKED.time, CHECKED.inputs)
    xs = jax.random.normal(jax.random.key(1), shape)
    params, xs = jax.tree.map(lambda a: a.astype(rounded).astype(dtype), (params, xs))
    lengths = jax.random.randint(jax.random.key(2), shape[:1], 0, CHECKED.time + 1)
    how: dict[str, Any] = {"lengths": lengths, "method": method}
    if resets:
        how["reset"] = jax.random.bernoulli(jax.random.key(3), 0.1, shape[:2])

    def run(params: Any, xs: Any) -> Any:
        out = jrnn.scan(made, params, None, xs, **how)
        parts = [jnp.sin(leaf.astype("float32")) for leaf in jax.tree.leaves(out)]
        return sum(map(jnp.sum, parts)), out

    def all_of_it(params: Any, xs: Any) -> Any:
        # The sum may cancel, so its relative error is meaningless.
        (_, out), gradients = jax.value_and_grad(run, (0, 1), has_aux=True)(params, xs)
        return out, gradients

    with jax.default_matmul_precision(precision):
        found = jax.jit(all_of_it)(params, xs)
    return jax.tree.map(lambda leaf: np.asarray(leaf.astype("float32")), found)


def _error(found: Any, expected: Any) -> float:
    """Returns the largest error of an array, relative to its largest entry."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    errors = [np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-30) for a, b in pairs]
    return float(np.max(errors))  # NaN if one of them is


def _group(
    config: OnDevice,
    peers: list[str],
    cell: str,
    mode: str,
    dtype: str,
    size: Size,
    device: Any,
) -> list[Row]:
    """Times the peers on one problem."""
    what = {"cell": cell, "mode": mode, "dtype": dtype, **size._asdict()}
    rows: dict[str, Row] = {}
    calls: dict[str, Call] = {}
    arrays: dict[str, Any] = {}
    for peer in filter(rounds.installed, peers):
        rows[peer] = {"peer": peer, **what}
        try:
            call = _call(peer, cell, mode, dtype, size, device, config, arrays)
            call.run()
        except Exception as error:  # refused, out of memory, no such cell
            rows[peer]["error"] = _line(error)
            continue
        calls[peer] = call
        rows[peer] |= {"first": call.first, "seconds": [], "resident": None}
    for _, (peer, call) in itertools.product(range(config.rounds), calls.items()):
        best = min(timed(call.run) for _ in range(config.calls))
        rows[peer]["seconds"].append(best)
    for peer, call in calls.items():
        rows[peer]["temporary"] = call.temporary()
        found = profiles.profile(call.run) if config.profile else None
        rows[peer]["profile"] = found and found._asdict()
    base = config.base if config.base in calls else "jrnn:scan"
    return rounds.compare(list(rows.values()), base)


def _call(
    peer: str,
    cell: str,
    mode: str,
    dtype: str,
    size: Size,
    device: Any,
    config: OnDevice,
    arrays: dict[str, Any],
) -> Call:
    """Returns the call of a peer. Methods of one library share their arrays."""
    library, method, _ = split_peer(peer)
    start = time.perf_counter()
    if library == "torch":
        torch = importlib.import_module("experiments.bench.peers.torch")
        exact = config.precision in ("highest", "float32")
        run, temporary = torch.prepare_on(
            device.platform, cell, mode, size, dtype, exact
        )
        return Call(run, time.perf_counter() - start, temporary)
    module = importlib.import_module(f"experiments.bench.peers.{library}")
    function, *made = module.build(cell, size, method)
    if library not in arrays:
        cast = jax.tree.map(lambda a: jnp.asarray(a).astype(dtype), made)
        arrays[library] = jax.device_put(cast, device)

    def loss(params: Any, xs: Any) -> jax.Array:
        return jnp.sum(function(params, xs).astype("float32") ** 2)

    timed_one = {
        "forward": function,
        "gradient": jax.grad(loss),
        "gradient-inputs": jax.grad(loss, (0, 1)),
    }[mode]
    start = time.perf_counter()
    compiled = jax.jit(timed_one).lower(*arrays[library]).compile()
    first = time.perf_counter() - start
    analysis = compiled.memory_analysis()
    size_in_bytes = None if analysis is None else analysis.temp_size_in_bytes
    return Call(
        lambda: jax.block_until_ready(compiled(*arrays[library])),
        first,
        lambda: size_in_bytes,
    )


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
