"""Calculates how training over many hosts scales: the table of `docs/devices.md`."""

import dataclasses
import time
from typing import Any

import jax

import jrnn
from experiments.command_line import parse
from experiments.errors import refuse
from experiments.run.options import out_of_range
from jrnn import training

_ABOUT = """Prints how much of its speed each host keeps if the gradient is averaged
over many hosts. The time of an update and the bytes of the gradient are measured here;
the rest is calculated. A ring of n hosts takes

    2 (n - 1) / n * bytes / bandwidth + 2 (n - 1) * latency

seconds. The rows of each host stay the same, all hosts are equally fast, and nothing is
computed while the gradient is averaged."""

SYMBOLS = 96


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaling:
    """Options of the command.

    Attributes:
      hidden_sizes: Units of the LSTMs that are measured.
      rows: Rows of the batch on each host.
      chunk: Steps of a row in each update.
      hosts: Numbers of hosts.
      gigabits: Bandwidths of the network, in Gbit/s.
      latency: Of one message between two hosts, in microseconds.
      repeats: How often an update is timed; the median counts.
      update: The time of an update in milliseconds, instead of measuring it.
    """

    hidden_sizes: tuple[int, ...] = (256, 512)
    rows: int = 32
    chunk: int = 64
    hosts: tuple[int, ...] = (8, 64, 512)
    gigabits: tuple[float, ...] = (10.0, 100.0)
    latency: float = 20.0
    repeats: int = 3
    update: float | None = None


def main(prog: str, arguments: list[str]) -> int:
    """Prints the table."""
    how = parse(Scaling, prog, arguments, description=_ABOUT)
    counts = dict.fromkeys(["hidden_sizes", "rows", "chunk", "hosts", "repeats"], 1)
    refuse(out_of_range(how, counts | {"latency": 0}, ["gigabits", "update"]))
    hosts = " | ".join(f"{number} hosts" for number in how.hosts)
    print(f"| Units | Gradient | Update | Network | {hosts} |")
    print(f"|--:|--:|--:|--:|{'--:|' * len(how.hosts)}")
    for size in how.hidden_sizes:
        seconds, bytes_ = measure(how, size)
        for gigabits in how.gigabits:
            cells = []
            for number in how.hosts:
                spent = ring(number, bytes_, gigabits * 1e9 / 8, how.latency * 1e-6)
                kept = seconds / (seconds + spent)
                cells.append(f"{1000 * spent:.1f} ms, {kept:.0%}")
            print(
                f"| {size} | {bytes_ / 1e6:.1f} MB | {1000 * seconds:.0f} ms | "
                f"{gigabits:g} Gbit/s | {' | '.join(cells)} |",
                flush=True,
            )
    return 0


def ring(hosts: int, bytes_: float, bandwidth: float, latency: float) -> float:
    """Returns the seconds in which a ring of hosts adds up arrays.

    Example:
      >>> round(ring(2, 1e9, 1e9, 0.0), 3), round(ring(4, 1e9, 1e9, 0.1), 3)
      (1.0, 2.1)
    """
    return 2 * (hosts - 1) * (bytes_ / hosts / bandwidth + latency)


def measure(how: Scaling, size: int) -> tuple[float, int]:
    """Returns the seconds of a gradient of a character model, and its bytes."""
    model = jrnn.Sequential(
        jrnn.Embed(SYMBOLS, 64), jrnn.Recurrent(jrnn.LSTM(size)), jrnn.Dense(SYMBOLS)
    )
    params = model.init(jax.random.key(0))
    ids = jax.random.randint(jax.random.key(1), (how.rows, how.chunk + 1), 0, SYMBOLS)

    @jax.jit
    def gradient(params: Any, ids: Any) -> Any:
        def loss(params: Any) -> Any:
            _, logits = model.apply(params, None, ids[:, :-1])
            return training.cross_entropy(logits, ids[:, 1:])

        return jax.grad(loss)(params)

    bytes_ = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    if how.update is not None:
        return how.update / 1000, bytes_
    times = []
    jax.block_until_ready(gradient(params, ids))
    for _ in range(how.repeats):
        began = time.perf_counter()
        jax.block_until_ready(gradient(params, ids))
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2], bytes_
