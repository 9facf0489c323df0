"""Checks of section D: dtypes, memory, compilations, donation and leaks."""

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jrnn
from experiments.drill.rows import Result, count, refused
from experiments.drill.shapes import CELLS, B, D, H, T, differ, random, setting
from jrnn import sequences

FLOATS = "float32", "bfloat16"
GIVEN = *FLOATS, "float64", "float16", "int32", "uint8"
DTYPES = [*itertools.product(CELLS, FLOATS, GIVEN, FLOATS)]


def dtypes(case: tuple[Any, str, str, str]) -> str | None:
    """Either states keep their dtype, or the error says what to cast."""
    cell, kept, given, carried = case
    params = random(cell.init(jax.random.key(0), D, jnp.dtype(kept)), 1)
    state = cell.initial_state(params, (B,))
    state = jax.tree.map(lambda leaf: leaf.astype(carried), state)
    xs = np.ones((B, T, D), jnp.dtype(given))
    try:
        final, ys = jrnn.scan(cell, params, state, xs)
    except TypeError as error:
        told = "astype" in str(error) or "Cast" in str(error)
        same = kept == given == carried
        return f"TypeError: {error}" if same or not told else None
    wrong = [leaf.dtype for leaf in jax.tree.leaves(final) if leaf.dtype != carried]
    return f"states became {wrong}, outputs {ys.dtype}" if wrong else None


def wide(cell: Any) -> str | None:
    """The same program with and without 64 bits."""

    def run() -> Any:
        params = random(cell.init(jax.random.key(0), D, jnp.float32), 1)
        xs = random(jnp.zeros((B, T, D), jnp.float32), 3)
        loss = lambda p, x: jnp.sum(jrnn.scan(cell, p, None, x)[1] ** 2)  # noqa: E731
        tx = jrnn.training.optimizer(optax.sgd(1e-3, 0.9))
        gradient = jax.grad(loss)(params, xs)
        updates, _ = tx.update(gradient, tx.init(params), params)
        return jrnn.scan(cell, params, None, xs), gradient, updates

    def default() -> str | None:
        params = cell.init(jax.random.key(0), D)
        final, _ = jrnn.scan(cell, params, None, jnp.zeros((B, T, D)))
        kinds = {str(leaf.dtype) for leaf in jax.tree.leaves((params, final))}
        expected = {str(jnp.zeros(0).dtype)}
        return None if kinds == expected else f"{kinds} instead of {expected}"

    with jax.enable_x64(False):
        narrow, fault = run(), default()
    with jax.enable_x64(True):
        return fault or differ(run(), narrow, 1e-5) or default()


LONG = 1_000, 10_000, 100_000  # steps
UNITS, INPUTS = 64, 4
_SAVED = 2 * UNITS + 6 * 4 * UNITS  # numbers per step of a piece, generously


def memory(steps: int, backward: bool) -> tuple[int, int]:
    """Returns bytes of temporaries of an LSTM, and lines of its program."""
    cell = jrnn.LSTM(UNITS)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), INPUTS))
    xs = jax.ShapeDtypeStruct((1, steps, INPUTS), jnp.float32)

    def loss(params: Any, xs: Any) -> Any:
        options: dict[str, Any] = {"remat": "sqrt"} if backward else {}
        final, _ = jrnn.scan(cell, params, None, xs, return_sequence=False, **options)
        return jnp.sum(final.h)

    run = jax.jit(jax.grad(loss) if backward else loss)
    lowered = run.lower(shapes, xs)
    stats: Any = lowered.compile().memory_analysis()
    return stats.temp_size_in_bytes, len(lowered.as_text().splitlines())


def long_sequences(folder: Path, quick: bool) -> Result:
    """Memory and program do not grow with the steps, or with their square root."""
    del folder, quick
    trials, shown = [], []
    for backward in (False, True):
        found = [memory(steps, backward) for steps in LONG]
        shown.append([f"{bytes_ / 2**20:.2f}" for bytes_, _ in found])
        for steps, (bytes_, lines) in zip(LONG, found, strict=True):
            # Padding to whole pieces copies the inputs once.
            inputs = steps * INPUTS * 4
            piece = 4 * _SAVED * int(np.sqrt(steps)) if backward else 0
            allowed = found[0][0] + 2 * inputs + 2 * piece
            many = bytes_ > allowed or lines > 1.5 * found[0][1]
            fault = f"{steps} steps: {bytes_} bytes, {allowed} allowed, {lines} lines"
            trials.append(fault if many else None)
    forward, gradient = map(", ".join, shown)
    note = f"MiB of temporaries for {LONG} steps: {forward}; gradient: {gradient}"
    return count(trials, note)


def buckets(cell: Any) -> str | None:
    """Batches of different lengths compile at most once per bucket."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, 50)
    data = [rng.standard_normal((n, D)).astype("float32") for n in lengths]
    declared = sequences.bucket_lengths(lengths, 3)
    params, traces = cell.init(jax.random.key(0), D), []

    @jax.jit
    def loss(params: Any, xs: Any, lengths: Any) -> Any:
        traces.append(xs.shape)
        return jnp.sum(jrnn.scan(cell, params, None, xs, lengths=lengths)[1])

    for seed in range(2):  # epochs; the last batch of a bucket is smaller
        for batch in sequences.batches(lengths, 4, buckets=declared, seed=seed):
            rows = [data[i] for i in batch.indices]
            loss(params, *sequences.pad(rows, length=batch.length, rows=4))
    compiled = len(traces) <= len(declared)
    return None if compiled else f"{len(traces)} compilations for {declared}"


def donated(cell: Any) -> str | None:
    """A donated state is used once more."""
    params, state, xs = setting(cell)
    run = lambda state: jrnn.scan(cell, params, state, xs)  # noqa: E731
    step, expected = jax.jit(run, donate_argnums=0), run(state)
    return differ(step(state), expected, 1e-6) or refused(
        lambda: step(state), (RuntimeError, ValueError), "delete"
    )


SEEN: list[Any] = []


@jrnn.value
class Leaking(jrnn.cells.GatedCell):
    """An Elman network that keeps what it saw, which is a tracer.

    h' = tanh(x Wx + b + h Wh)
    """

    hidden_size: int
    leaks: bool = True
    blocks = 1
    state_type = jrnn.cells.ElmanState

    def update(self, params: Any, state: Any, p: Any) -> Any:
        h = jnp.tanh(p[0])
        if self.leaks:
            SEEN.append(h)
        return jrnn.cells.ElmanState(h)


def leaked(leaks: bool) -> str | None:
    """A cell that leaks a tracer, and the same cell that does not."""
    cell = Leaking(H, leaks)
    params, state, xs = setting(cell)

    def run() -> Any:
        return jax.make_jaxpr(lambda xs: jrnn.scan(cell, params, state, xs))(xs)

    with jax.checking_leaks():
        try:
            if leaks:
                return refused(run, Exception, "Leaked")
            run()
            return None
        finally:
            SEEN.clear()
