"""Every gradient method, against the exact gradient and values computed by hand."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.training import (
    ARTBP,
    BPTT,
    RTRL,
    TBPTT,
    EProp,
    SnAp1,
    mean_over_valid,
    squared_error,
    train_along,
    value_and_grad,
)
from tests.cases import assert_close, randomise, shapes

pytestmark = pytest.mark.without("jax_debug_nans", reason="the padding is NaN")
T, B, F, H = 7, 2, 3, 4
LINEAR = jrnn.Elman(1, activation=jrnn.activations.identity, bias=False)


def weighted_sum(ys: Any, weights: Any, mask: Any) -> Any:
    """A loss that makes any function of the outputs a sum over 4 steps."""
    return mean_over_valid(ys[..., 0] * weights, mask)


@functools.cache
def compiled(method: Any) -> Any:
    return jax.jit(value_and_grad(LINEAR, weighted_sum, method, batch_axes=0))


def worked_by_hand(weights: list[float], method: Any) -> float:
    """The derivative in w of h_t = w h_t-1 + x_t with w = 0.5 and x = 1, 1, 1, 1."""
    with jax.enable_x64(True):
        params = jrnn.cells.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), 0.5), None)
        params = jax.tree.map(lambda a: a.astype(float), params)
        (value, state), grads = compiled(method)(
            params, None, jnp.ones((4, 1)), 4 * jnp.array(weights)
        )
        assert float(jax.tree.leaves(state)[0][0]) == 1.875
        h = np.array([1, 1.5, 1.75, 1.875])
        assert float(value) == float(np.dot(h, weights))
        return float(grads.w_h[0, 0])


LAST, ALL = [0, 0, 0, 1], [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("weights", "method", "expected"),
    [
        (LAST, BPTT(), 2.75),
        (LAST, TBPTT(2), 2.5),
        (LAST, TBPTT(1), 1.75),
        (LAST, TBPTT(3), 1.75),
        (LAST, TBPTT(4), 2.75),
        (ALL, BPTT(), 5.75),
        (ALL, TBPTT(2), 5.0),
        (ALL, TBPTT(1), 4.25),
        (ALL, TBPTT(3), 4.75),
        (ALL, TBPTT(1, 2), 5.5),
        (ALL, TBPTT(9), 5.75),
        (ALL, TBPTT(2, 4), 5.75),
        (ALL, RTRL(), 5.75),
        (LAST, RTRL(every=3), 2.75),
        (ALL, SnAp1(), 5.75),  # one unit: its own path is every path
        (ALL, EProp(), 4.25),
    ],
    ids=str,
)
def test_truncated_gradients_are_those_worked_by_hand(weights, method, expected):
    assert worked_by_hand(weights, method) == expected


class Problem(NamedTuple):
    """Arrays of a regression with padding, an episode border and a learned start."""

    params: Any
    xs: Any
    targets: Any
    flags: Any


def problem(model: Any, seed: int = 0) -> Problem:
    params = randomise(shapes(model, F), seed, jnp.float64)
    xs = randomise(np.zeros((B, T, F)), 3, jnp.float64, scale=1.0)
    targets = randomise(np.zeros((B, T, model.output_size)), 4, jnp.float64)
    flags = {
        "lengths": jnp.array([5, T]),
        "reset": jnp.zeros((B, T), bool).at[0, 3].set(True),
    }
    return Problem(params, xs.at[0, 5:].set(jnp.nan), targets, flags)


def derive(model: Any, method: Any) -> Any:
    return jax.jit(value_and_grad(model, squared_error, method))


def compare(model: Any, *methods: Any, tolerance: float = 1e-12) -> None:
    """Asserts that methods agree on value, final state and gradient."""
    data = problem(model)
    results = []
    for method in methods:
        gradient = derive(model, method)
        results.append(gradient(data.params, None, data.xs, data.targets, **data.flags))
    ((value, _), grads), *others = results
    for (other, _), same in others:
        assert_close((other, same), (value, grads), tolerance)


STACK = jrnn.Sequential(
    jrnn.Dense(3), jrnn.Recurrent(jrnn.LSTM(2)), jrnn.Recurrent(jrnn.Elman(3))
)


def test_every_exact_method_equals_backpropagation_through_time():
    with jax.enable_x64(True):
        compare(STACK, BPTT(), RTRL())
        head = jrnn.Dense(2)
        lru = jrnn.Recurrent(jrnn.LRU(H, output_features=3))
        compare(jrnn.Sequential(lru, head), BPTT(), RTRL())
        learned = jrnn.LearnedState(jrnn.ParaGRU(H))
        compare(learned, BPTT(), TBPTT(2, T + 1), RTRL(), SnAp1(every=3))
        compare(jrnn.IndRNN(H), BPTT(), EProp())


def test_randomized_truncation_is_right_on_average():
    model = jrnn.Sequential(jrnn.Recurrent(jrnn.Elman(3)), jrnn.Dense(1))
    with jax.enable_x64(True):
        data = problem(model)
        args = data.params, None, data.xs, data.targets
        _, exact = derive(model, BPTT())(*args, **data.flags)
        estimate = value_and_grad(model, squared_error, ARTBP(0.3))

        def draw(key: Any) -> Any:
            return estimate(*args, **data.flags, key=key)[1]

        keys = jax.random.split(jax.random.key(0), 20_000)
        draws = jax.jit(jax.vmap(draw))(keys)
        draws, exact = jax.tree.map(np.asarray, (draws, exact))
        for sample, mean in zip(
            jax.tree.leaves(draws), jax.tree.leaves(exact), strict=True
        ):
            error = np.std(sample, axis=0) / np.sqrt(len(keys)) + 1e-12
            z = (np.mean(sample, axis=0) - mean) / error
            assert np.max(np.abs(z)) < 4
        with pytest.raises(ValueError, match="pass `key=`"):
            estimate(*args)


def test_sparse_approximations_are_what_their_papers_define():
    """An Elman network and an LSTM in loops, one parameter of w_h at a time."""
    with jax.enable_x64(True):
        elman = jrnn.Elman(H)
        data = problem(elman)
        _, snap = derive(elman, SnAp1())(data.params, None, *data[1:3], **data.flags)
        _, eprop = derive(elman, EProp())(data.params, None, *data[1:3], **data.flags)
        expected = np.zeros((2, H, H))
        p = jax.tree.map(np.asarray, data.params)
        for b, length in enumerate([5, T]):
            h, traces = np.zeros(H), np.zeros((2, H, H))
            for t in range(length):
                if data.flags["reset"][b, t]:
                    h, traces = np.zeros(H), np.zeros((2, H, H))
                new = np.tanh(data.xs[b, t] @ p.w_x + p.b_x + h @ p.w_h)
                slope = 1 - new**2
                keep = np.stack([slope * np.diag(p.w_h), 0 * slope])
                traces = keep[:, None] * traces + slope * h[:, None]
                h = new
                expected += 2 * (h - data.targets[b, t]) * traces / (5 + T)
        assert_close((snap.w_h, eprop.w_h), (expected[0], expected[1]), 1e-12)


def test_e_prop_of_an_lstm_keeps_the_path_through_its_memory():
    with jax.enable_x64(True):
        lstm = jrnn.LSTM(2)
        data = problem(lstm)
        alone = data.params.w_h * jnp.tile(jnp.eye(2), (1, 4))  # units do not mix
        data = data._replace(params=data.params._replace(w_h=alone))
        args = (data.params, None, *data[1:3])
        grads = {
            name: derive(lstm, method)(*args, **data.flags)[1]
            for name, method in {"e": EProp(), "s": SnAp1(), "exact": BPTT()}.items()
        }
        assert_close(grads["s"], grads["exact"], 1e-12)

        def outside(params: Any) -> Any:
            """The loss where h reaches the gates as if it came from outside."""
            fixed = jax.lax.stop_gradient

            def one(xs: Any, targets: Any, length: int, border: int | None) -> Any:
                h, c, total = jnp.zeros(2), jnp.zeros(2), 0.0
                for t in range(length):
                    h, c = (0 * h, 0 * c) if t == border else (h, c)
                    pre = xs[t] @ params.w_x + params.b_x + fixed(h) @ params.w_h
                    i, f, g, o = jnp.split(pre, 4)
                    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                    h = jax.nn.sigmoid(o) * jnp.tanh(c)
                    total += jnp.sum((h - targets[t]) ** 2)
                return total

            first = one(data.xs[0], data.targets[0], 5, 3)
            return (first + one(data.xs[1], data.targets[1], T, None)) / (5 + T)

        expected = jax.jit(jax.grad(outside))(data.params)
        assert_close(grads["e"], expected, 1e-12)


def test_in_a_stack_snap_covers_paths_within_the_step_of_the_loss():
    model = jrnn.Sequential(
        jrnn.Dense(2), jrnn.Recurrent(jrnn.IndRNN(3)), jrnn.Dense(1)
    )
    with jax.enable_x64(True):
        data = problem(model)
        args = data.params, None, data.xs, data.targets
        exact, step, snap = (
            derive(model, method)(*args, **data.flags)[1]
            for method in (BPTT(), TBPTT(1), SnAp1())
        )
        assert_close(snap[1:], exact[1:], 1e-12)
        assert_close(snap[0], step[0], 1e-12)


def test_online_methods_go_on_where_a_sequence_was_cut():
    with jax.enable_x64(True):
        cell = jrnn.ParaGRU(H)
        data = problem(cell)
        xs = np.nan_to_num(data.xs)
        gradient = derive(cell, RTRL())
        (_, whole_state), whole = gradient(data.params, None, xs, data.targets)
        (_, state), head = gradient(data.params, None, xs[:, :3], data.targets[:, :3])
        (_, state), tail = gradient(data.params, state, xs[:, 3:], data.targets[:, 3:])
        weigh = lambda a, b: (3 * a + (T - 3) * b) / T
        assert_close(jax.tree.map(weigh, head, tail), whole, 1e-12)
        assert_close(state, whole_state, 1e-12)
        plain = cell.initial_state(data.params, (B,))
        assert_close(gradient(data.params, plain, xs, data.targets)[1], whole, 1e-12)


@pytest.mark.parametrize("method", [TBPTT(3), TBPTT(3, 5), RTRL(every=3)], ids=str)
def test_updates_along_a_sequence_are_those_of_a_loop(method):
    with jax.enable_x64(True):
        cell, tx = jrnn.IndRNN(H), optax.sgd(0.1)
        data = problem(cell)
        xs, targets = np.nan_to_num(data.xs), np.asarray(data.targets)
        train = jax.jit(train_along(cell, squared_error, tx, method))
        params, _, state, losses = train(
            data.params, tx.init(data.params), None, xs, targets
        )
        assert losses.shape == (3,)
        if not isinstance(method, TBPTT):
            return
        expected, starts = data.params, [None, None, None, None]
        k1, k2 = method.window
        for i in range(3):
            begin, end = max(0, 3 * i + 3 - k2), min(T, 3 * i + 3)
            mask = np.broadcast_to(np.arange(begin, end) >= 3 * i, (B, end - begin))

            def window(p, begin=begin, end=end, mask=mask, start=starts[i]):
                _, ys = jrnn.scan(cell, p, start, xs[:, begin:end])
                return squared_error(ys, targets[:, begin:end], mask)

            following = max(0, 3 * i + 6 - k2)
            starts[i + 1] = starts[i]
            if following > begin:
                starts[i + 1], _ = jrnn.scan(
                    cell, expected, starts[i], xs[:, begin:following]
                )
            loss, grads = jax.jit(jax.value_and_grad(window))(expected)
            np.testing.assert_allclose(losses[i], loss, rtol=1e-12)
            expected = jax.tree.map(lambda p, g: p - 0.1 * g, expected, grads)
        assert_close(params, expected, 1e-12)


@pytest.mark.parametrize(
    ("model", "method", "message"),
    [
        (jrnn.Bidirectional(jrnn.GRU(H)), TBPTT(2), "later steps"),
        (jrnn.Recurrent(jrnn.GRU(H), reverse=True), RTRL(), "later steps"),
        (jrnn.ResetBeforeGRU(H), SnAp1(), "affects only one unit"),
        (jrnn.LSTM(H), RTRL(limit=10), "more than the limit"),
    ],
    ids=str,
)
def test_a_method_that_does_not_apply_says_why(model, method, message):
    params = model.init(jax.random.key(0), F)
    with pytest.raises(ValueError, match=message):
        value_and_grad(model, squared_error, method)(
            params, None, jnp.ones((B, T, F)), jnp.ones((B, T, model.output_size))
        )
