"""Checks of section D: sequences, states and dtypes that do not fit, or are extreme."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.drill.rows import Result, attempt, count, refused

B, T, D, H = 3, 5, 2, 4
CELLS = (jrnn.LSTM(H), jrnn.GRU(H), jrnn.Elman(H), jrnn.LRU(H), jrnn.IndRNN(H))
WRONG = (TypeError, ValueError)


def random(tree: Any, seed: int) -> Any:
    """Returns a tree of random numbers with these shapes and dtypes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(-1, 1, leaf.shape), leaf.dtype), tree
    )


def setting(cell: Any, batch: int = B, steps: int = T, size: int = D) -> Any:
    """Returns parameters, a state and inputs."""
    params = random(cell.init(jax.random.key(0), size), 1)
    state = random(cell.initial_state(params, (batch,)), 2)
    return params, state, random(jnp.zeros((batch, steps, size)), 3)


def differ(actual: Any, expected: Any, tolerance: float = 0.0) -> str | None:
    """Returns None if two trees are equal, or how far they are apart."""
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{a.dtype}{a.shape} instead of {b.dtype}{b.shape}"
        # NaN is equal to nothing
        if not np.all(np.abs(np.asarray(a) - np.asarray(b)) <= tolerance):
            return f"differs by {np.max(np.abs(np.asarray(a) - np.asarray(b)))}"
    return None


def each(check: Callable[..., str | None], cases: Any = CELLS) -> Any:
    """Returns the check of a row: one trial for every case."""

    def row(folder: Path, quick: bool) -> Result:
        del folder
        chosen = list(cases)[: 2 if quick else None]

        def trial(case: Any) -> str | None:
            fault = attempt(lambda: check(case))
            return None if fault is None else f"{case}: {fault}"

        return count(map(trial, chosen))

    return row


def no_steps_in_a_row(cell: Any) -> str | None:
    """A row of length 0."""
    params, state, xs = setting(cell)

    def run(params: Any, state: Any, xs: Any) -> Any:
        return jrnn.scan(cell, params, state, xs, lengths=jnp.array([0, 3, 5]))

    def loss(*args: Any) -> Any:
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(run(*args)))

    final, ys = run(params, state, xs)
    first = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)  # noqa: E731
    d_params, d_state, d_xs = jax.grad(loss, (0, 1, 2))(params, state, xs)
    others = jax.tree.map(lambda leaf: leaf[1:], (state, xs))
    alone = jax.grad(
        lambda p: sum(
            jnp.sum(jnp.sin(leaf))
            for leaf in jax.tree.leaves(
                jrnn.scan(cell, p, *others, lengths=jnp.array([3, 5]))
            )
        )
    )(params)
    return (
        differ(first(final), first(state))
        or differ(ys[0], jnp.zeros_like(ys[0]))
        or differ(d_xs[0], jnp.zeros_like(d_xs[0]))
        or differ(first(d_state), jax.tree.map(jnp.cos, first(state)), 1e-6)
        or differ(d_params, alone, 1e-5)
    )


def wrong_lengths(case: tuple[Any, tuple[int, ...]]) -> str | None:
    """Lengths that are negative or larger than T."""
    cell, lengths = case
    params, state, xs = setting(cell)
    row = next(i for i, n in enumerate(lengths) if not 0 <= n <= T)
    words = f"lengths[{row}]", str(lengths[row]), str(T)
    eager = lambda n: jrnn.scan(cell, params, state, xs, lengths=n)  # noqa: E731
    given = np.array(lengths)
    clipped = eager(np.clip(given, 0, T))
    return refused(lambda: eager(given), ValueError, *words) or differ(
        jax.jit(eager)(given), clipped, 1e-6
    )


WRONG_LENGTHS = [
    (cell, lengths)
    for cell in CELLS
    for lengths in ((-1, 2, 3), (1, 6, 2), (5, 5, 2**30))
]
NO_LENGTHS: list[Any] = [
    np.array([1, 2]),
    np.array([1, 2, 3, 4]),
    np.array([[1], [2], [3]]),
    np.array(2),
    np.array([1.0, 2.0, 3.0]),
    np.array([True, False, True]),
    np.array(["1", "2", "3"]),
    [1, 2, None],
    "123",
    {"a": 1},
]


def other_lengths(case: tuple[Any, Any]) -> str | None:
    """Lengths of another shape or type."""
    cell, lengths = case
    params, state, xs = setting(cell)
    return refused(
        lambda: jrnn.scan(cell, params, state, xs, lengths=lengths), WRONG, "lengths"
    )


def no_steps(case: tuple[Any, bool]) -> str | None:
    """T = 0."""
    cell, reverse = case
    params, state, xs = setting(cell, steps=0)
    final, ys = jrnn.scan(cell, params, state, xs, reverse=reverse)
    if ys.shape != (B, 0, cell.output_size):
        return f"outputs of shape {ys.shape}"
    return differ(final, state)


def lstm_by_hand(params: Any, state: Any, xs: np.ndarray) -> Any:
    """The equations of the LSTM in numpy, in 64 bits."""
    w_x, w_h, b = (np.asarray(a, np.float64) for a in params[:3])
    h, c = (np.asarray(a, np.float64) for a in (state.h, state.c))
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    ys = np.zeros((*xs.shape[:2], h.shape[1]))
    for t in range(xs.shape[1]):
        i, f, g, o = np.split(np.asarray(xs)[:, t] @ w_x + h @ w_h + b, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = ys[:, t] = sigmoid(o) * np.tanh(c)
    return h, c, ys


def small_sizes(sizes: tuple[int, int, int, int]) -> str | None:
    """Sizes of 0 and 1, compared with the equations."""
    batch, steps, hidden, size = sizes
    cell = jrnn.LSTM(hidden)
    params, state, xs = setting(cell, batch, steps, size)
    final, ys = jrnn.scan(cell, params, state, xs)
    single = jax.tree.map(np.float32, lstm_by_hand(params, state, np.asarray(xs)))
    return differ((final.h, final.c, ys), single, 1e-5)


SMALL = [*itertools.product((0, 1, 3), (0, 1, 4), (1, 3), (1, 2))]


def wrong_features() -> Iterator[tuple[str, Callable[[], Any], tuple[str, ...]]]:
    """Inputs with another number of features, and what must be said."""
    key, wide = jax.random.key(0), jnp.ones((B, T, D + 5))
    said = f"{D} features", f"{D + 5}"
    for cell in CELLS:
        params = cell.init(key, D)
        yield str(cell), partial(jrnn.scan, cell, params, None, wide), said
        layer = jrnn.Recurrent(cell)
        yield f"{cell}, layer", partial(layer.apply, params, None, wide), said
    model = jrnn.Sequential(jrnn.Dense(3), jrnn.Recurrent(jrnn.GRU(H)), jrnn.Dense(2))
    params = model.init(key, D)
    yield "model", lambda: model.apply(params, None, wide), ("Dense", "2", "7")
    swapped = (params[0], jrnn.GRU(H).init(key, 9), params[2])
    xs = jnp.ones((B, T, D))
    yield "inner", lambda: model.apply(swapped, None, xs), ("GRU", "9")


def wrong_states() -> Iterator[tuple[str, Callable[[], Any], tuple[str, ...]]]:
    """States of another structure, shape or batch, and what must be said."""
    for cell in CELLS:
        params, state, xs = setting(cell)
        leaf = state._fields[0]
        for name, change, words in (
            ("batch", lambda a: a[:2], (f"state.{leaf}", "[3")),
            ("rank", lambda a: a[0], (f"state.{leaf}",)),
            ("units", lambda a: a[..., :3], (f"state.{leaf}", f"{H}")),
        ):
            bad = jax.tree.map(change, state)
            run = partial(jrnn.scan, cell, params, bad, xs)
            yield f"{cell}, {name}", run, words
        for bad in ((), {"x": jnp.ones(3)}, jnp.ones((B, H)), [*state, 1.0, 2.0]):
            run = partial(jrnn.scan, cell, params, bad, xs)
            yield f"{cell}, {type(bad).__name__}", run, ("state",)


def told(cases: Callable[[], Iterator[Any]]) -> Any:
    """Returns the check of a row of mistakes, each of which must be told."""

    def row(folder: Path, quick: bool) -> Result:
        del folder, quick
        return count(
            None if fault is None else f"{name}: {fault}"
            for name, action, words in cases()
            for fault in [refused(action, WRONG, *words)]
        )

    return row


def swapped() -> Iterator[tuple[str, Callable[[], Any], tuple[str, ...]]]:
    """Time before batch, where something shows it."""
    for cell in CELLS:
        params, state, xs = setting(cell)
        turned = xs.swapaxes(0, 1)
        cases: tuple[tuple[str, dict[str, Any]], ...] = (
            ("lengths", {"lengths": jnp.array([1, 2, 3])}),
            ("mask", {"mask": jnp.ones((B, T), bool)}),
            ("reset", {"reset": jnp.ones((B, T), bool)}),
        )
        for name, options in cases:
            run = partial(jrnn.scan, cell, params, None, turned, **options)
            yield f"{cell}, {name}", run, (name,)
        run = partial(jrnn.scan, cell, params, state, turned)
        yield f"{cell}, state", run, ("state",)
        run = partial(jrnn.scan, cell, params, None, xs.swapaxes(1, 2))
        yield f"{cell}, features", run, ("features",)
