"""The linear recurrence as the solution of linear equations, which JAX derives."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jrnn.kernels.recurrence import orders, pallas
from jrnn.kernels.recurrence.orders import Steps, constant, seen
from jrnn.kernels.recurrence.places import Place, Whole, started
from jrnn.kernels.recurrence.rings import Planes, Ring
from jrnn.types import Array

WHOLE = Whole()
METHODS = ["scan", "associative", "chunk", "pallas"]
MANY = 32  # steps for which a tree pays on a GPU
LONG, NARROW = 512, 4096  # steps, and elements in one, for which it pays on a TPU

Order = Callable[[Ring, Steps, bool], Planes]


def solve(
    ring: Ring,
    a: Planes,
    b: Planes,
    h0: Planes,
    restart: Array | None = None,
    *,
    reverse: bool = False,
    method: str = "auto",
    place: Place = WHOLE,
) -> Planes:
    """Computes `linear_recurrence` on planes, time first: a and b [T, ...], h0 [...].

    Factors [1, ...] are those of every step, and are broadcast where they must be.
    Where `restart` [T, *batch] is True, the state before the step counts as zero. The
    states solve the triangular system `h - a (h one step before) = b`. JAX derives
    every derivative from that equation, and calls back for the transposed system:

        g_t = λ_t - transpose(a_t+1) λ_t+1

    which is the recurrence in the other direction, with factors and restart flags
    shifted by one step.
    """
    reason = pallas.refusal(ring, b) if method == "pallas" else None
    if reason is not None:
        raise ValueError(f"method='pallas' {reason}. Use method='auto'.")
    if not b[0].shape[0]:
        return b
    begun = started(ring, Steps(a, b, restart), h0, reverse).b
    b = place.begin(begun, b, reverse)
    zeros = functools.partial(jax.tree.map, lambda leaf: jnp.zeros_like(leaf[0]))

    def states(steps: Steps, reverse: bool) -> Planes:
        run = functools.partial(compute, ring, reverse, method)
        return place.join(ring, steps, reverse, run)

    # Residuals are a and h, and not the states before all steps as well.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def system(h: Planes) -> Planes:
        before = seen(place.shift(zeros(h), h, reverse), restart)
        moved = ring.apply(a, before)
        return tuple(now - by for now, by in zip(h, moved, strict=True))

    def solution(_: Any, b: Planes) -> Planes:
        return states(Steps(a, b, restart), reverse)

    def transposed(_: Any, g: Planes) -> Planes:
        steps = Steps(ring.transpose(a), g, restart)
        moved = (() if constant(steps) else steps.a, restart)
        after, restarts = place.shift(zeros(moved), moved, not reverse)
        steps = steps._replace(a=after or steps.a, restart=restarts)
        return states(steps, not reverse)

    return lax.custom_linear_solve(system, b, solution, transposed)


def compute(ring: Ring, reverse: bool, method: str, steps: Steps) -> Planes:
    """Computes all states from zeros, in an order or on the platform that runs it."""
    fixed: dict[str, Order] = {
        "scan": orders.scan,
        "associative": orders.associative,
        "chunk": orders.chunk,
    }
    on_tpu, on_gpu = automatic(steps.b)
    if method != "auto":
        on_tpu = on_gpu = method
    chosen = {
        "cpu": fixed.get(method, orders.scan),
        "tpu": fixed.get(on_tpu, pallas.tpu),
        "cuda": fixed.get(on_gpu, pallas.gpu),
        "rocm": fixed.get(on_gpu, pallas.gpu),
    }
    if method == "pallas":
        chosen["cpu"] = pallas.interpreted
    if len(set(chosen.values())) == 1:
        return _run(chosen["cpu"], ring, reverse, steps)
    branches: Any = {
        platform: functools.partial(_run, order, ring, reverse)
        for platform, order in chosen.items()
    }
    return lax.platform_dependent(steps, default=branches["cpu"], **branches)


def automatic(b: Planes) -> tuple[str, str]:
    """Returns the methods that "auto" takes on TPUs and on GPUs.

    On a CPU of two cores, float32, milliseconds forward and with all gradients:

        T, elements in a step  scan        associative   chunk
        4096, 64               0.5, 1.6    0.8, 2.7      0.7, 1.7
        4096, 1024             4.3, 24     39, 132       32, 67
        256, 4096              1.0, 4.1    3.8, 16       3.1, 12

    and the tree took 4 to 17 times as long to compile: a CPU takes the scan.

    On an H100 (docs/devices.md), a step of the scan starts 3 kernels, in 25
    microseconds. The tree took 1/500 of the time of the scan for narrow steps, and 0.7
    for steps of 2^23 elements, where both move what fits in no cache. The kernel of
    Pallas was as fast as the tree where steps are wide, and a program with it cannot be
    exported for several platforms. So it must be asked for.

    Nothing was timed on a TPU. It runs a loop without starting kernels, and its tree is
    bound by memory (De et al., 2024, https://arxiv.org/abs/2402.19427, section 4): the
    tree is for steps that are many and narrow.
    """
    time, *rest = b[0].shape
    elements = math.prod(rest)
    on_tpu = time >= LONG and elements < NARROW
    on_gpu = time >= MANY
    tpu, gpu = ("associative" if tree else "scan" for tree in (on_tpu, on_gpu))
    return tpu, gpu


# Compiled here: a tree is traced once, not for every derivative of every program.
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _run(order: Order, ring: Ring, reverse: bool, steps: Steps) -> Planes:
    return order(ring, steps, reverse)
