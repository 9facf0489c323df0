"""Every rule that `jrnn.scan` keeps, whatever the cell."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cases import B, F, H, T, assert_close, randomise, shapes

CELL = jrnn.LSTM(H)
PARAMS = randomise(shapes(CELL, F), 1)
STATE = randomise(CELL.initial_state(PARAMS, (B,)), 2)
XS = randomise(np.zeros((B, T, F)), 3)
HOLES = np.array([[0, 1, 1, 0, 1, 1, 0], [1, 1, 0, 0, 0, 1, 1]], bool)


def scan(state=STATE, xs=XS, **options):
    return jrnn.scan(CELL, PARAMS, state, xs, **options)


def row(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def loss(result):
    """A scalar that depends on every output and state, each in its own way."""
    leaves = jax.tree.leaves(result)
    return sum(jnp.sum(jnp.sin(leaf + i)) for i, leaf in enumerate(leaves))


def by_hand(state, xs, mask, reset, reverse):
    """The rules as a loop over rows and steps."""
    finals, outputs = [], []
    for b in range(xs.shape[0]):
        current, ys, pending = row(state, b), [jnp.zeros(H)] * T, False
        for t in reversed(range(T)) if reverse else range(T):
            if not mask[b, t]:
                continue
            if pending if reverse else reset[b, t]:
                current = CELL.initial_state(PARAMS)
            pending = reset[b, t]
            current, ys[t] = jrnn.step(CELL, PARAMS, current, xs[b, t])
        finals.append(current)
        outputs.append(jnp.stack(ys))
    return jax.tree.map(lambda *a: jnp.stack(a), *finals), jnp.stack(outputs)


# ----------------------------------------------------------------- masks and resets


@pytest.mark.without("jax_debug_nans", reason="the padding is NaN")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_any_mask_and_any_reset_agree_with_a_loop(reverse, seed):
    rng = np.random.default_rng(seed)
    mask, reset = rng.random((2, B, T)) < 0.6
    xs = jnp.where(mask[..., None], XS, jnp.nan)
    actual = scan(xs=xs, mask=jnp.array(mask), reset=jnp.array(reset), reverse=reverse)
    assert_close(actual, by_hand(STATE, XS, mask, reset, reverse))


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint16, jnp.int32])
def test_lengths_are_the_mask_of_the_first_steps(dtype):
    lengths = jnp.array([0, 5], dtype)
    mask = jnp.arange(T) < lengths[:, None]
    assert_close(scan(lengths=lengths), scan(mask=mask))
    both = scan(lengths=lengths, mask=jnp.array(HOLES))
    assert_close(both, scan(mask=mask & HOLES))
    assert_close(scan(lengths=[0, 5]), scan(mask=mask))


def test_a_row_of_length_zero_keeps_its_state_and_has_no_gradient():
    value = jax.jit(jax.grad(lambda xs: loss(scan(xs=xs, lengths=jnp.array([0, T])))))
    final, ys = scan(lengths=jnp.array([0, T]))
    assert_close(row(final, 0), row(STATE, 0), 0)
    np.testing.assert_array_equal(ys[0], 0)
    np.testing.assert_array_equal(value(XS)[0], 0)
    assert np.all(np.asarray(value(XS)[1]) != 0)


@pytest.mark.without("jax_debug_nans", reason="the padding is NaN")
@pytest.mark.parametrize("padding", [jnp.nan, jnp.inf, 1e30])
def test_what_stands_in_the_padding_reaches_nothing(padding):
    xs = jnp.where(HOLES[..., None], XS, padding)
    value = jax.value_and_grad(
        lambda p, s, xs: loss(jrnn.scan(CELL, p, s, xs, mask=jnp.array(HOLES))),
        (0, 1, 2),
    )
    assert_close(value(PARAMS, STATE, xs), value(PARAMS, STATE, XS * HOLES[..., None]))


def test_a_batch_of_gradients_may_be_mapped():
    def slope(xs, state, mask):
        return jax.grad(lambda xs: loss(scan(state, xs, mask=mask)))(xs)

    mapped = jax.vmap(slope)(XS, STATE, jnp.array(HOLES))
    assert_close(mapped, slope(XS, STATE, jnp.array(HOLES)))


def test_traced_lengths_are_clipped_and_known_ones_are_checked():
    clipped = jax.jit(lambda lengths: scan(lengths=lengths))(jnp.array([-3, 99]))
    assert_close(clipped, scan(lengths=jnp.array([0, T])))
    for bad in ([-1, 3], [2, T + 1]):
        with pytest.raises(ValueError, match=r"lengths\[.\] is .*jnp.clip"):
            scan(lengths=jnp.array(bad))


def test_no_gradient_crosses_a_reset():
    reset = jnp.zeros((B, T), bool).at[0, 4].set(True)
    slope = jax.grad(lambda xs: jnp.sum(scan(xs=xs, reset=reset)[1][:, 4:]))(XS)
    np.testing.assert_array_equal(slope[0, :4], 0)
    assert np.all(np.asarray(slope[1]) != 0) and np.all(np.asarray(slope[0, 4:]) != 0)


def test_packed_segments_equal_the_sequences_alone():
    ids = jnp.array([[5, 5, 5, 1, 1, 1, 1], [2, 2, 2, 2, 2, 8, 8]])
    reset = jrnn.resets_from_segments(ids)
    for reverse in (False, True):
        ys = scan(None, reset=reset, reverse=reverse)[1]
        for index, cut in ((0, 3), (1, 5)):
            parts = [
                scan(None, XS[index, piece], reverse=reverse)[1]
                for piece in (slice(0, cut), slice(cut, T))
            ]
            assert_close(ys[index], jnp.concatenate(parts))


def test_a_reset_at_the_first_step_ignores_the_given_state():
    reset = jnp.zeros((B, T), bool).at[:, 0].set(True)
    assert_close(scan(reset=reset), scan(None))


# ------------------------------------------------------------------ order and layout


def test_reverse_keeps_the_order_of_the_inputs():
    final, ys = scan(reverse=True)
    flipped, backwards = scan(xs=XS[:, ::-1])
    assert_close((final, ys), (flipped, backwards[:, ::-1]))


@pytest.mark.parametrize("batch", [(), (B,), (2, 3), (0,), (1,)])
def test_any_number_of_batch_axes(batch):
    xs = randomise(np.zeros((*batch, T, F)), 5)
    state = randomise(CELL.initial_state(PARAMS, batch), 6)
    lengths = jnp.arange(int(np.prod(batch))).reshape(batch) % (T + 1)
    actual = jrnn.scan(CELL, PARAMS, state, xs, lengths=lengths)
    assert actual[1].shape == (*batch, T, H)
    for index in itertools.product(*map(range, batch)):
        alone = scan(row(state, index), xs[index], lengths=lengths[index])
        assert_close(row(actual, index), alone)


def test_time_major_is_another_layout_of_the_same():
    swap = lambda a: jnp.swapaxes(jnp.asarray(a), 0, 1)
    mask, reset = jnp.array(HOLES), jnp.array(~HOLES)
    _, expected = scan(mask=mask, reset=reset, return_states=True)
    options = {"mask": swap(mask), "reset": swap(reset), "return_states": True}
    _, actual = scan(xs=swap(XS), time_major=True, **options)
    assert_close(jax.tree.map(swap, actual), expected)


def test_inputs_may_be_a_tree():
    @dataclasses.dataclass(frozen=True)
    class Sum(jrnn.cells.Wrapper):
        cell: jrnn.Cell

        def project(self, params, x, *, key=None):
            return self.cell.project(params, x["a"] + x["b"][..., :F], key=key)

    cell = Sum(jrnn.Elman(H))
    params = randomise(shapes(cell, F), 1)
    tree = {"a": XS, "b": jnp.ones((B, T, F + 2))}
    actual = jrnn.scan(cell, params, None, tree, mask=jnp.array(HOLES))
    plain = jrnn.scan(jrnn.Elman(H), params, None, XS + 1, mask=jnp.array(HOLES))
    assert_close(actual, plain)
    with pytest.raises(ValueError, match=r"xs\['b'\]|must share"):
        jrnn.scan(cell, params, None, {"a": XS, "b": jnp.ones((B, T + 1, F))})


def test_no_steps_and_no_rows():
    final, ys = scan(xs=XS[:, :0])
    assert_close(final, STATE, 0)
    assert ys.shape == (B, 0, H)
    assert_close(scan(xs=XS[:, :0], return_sequence=False)[1], jnp.zeros((B, H)), 0)
    empty = jax.tree.map(lambda a: a[:0], STATE)
    assert scan(empty, XS[:0])[1].shape == (0, T, H)
    final, ys = scan(xs=XS[:, :0], method="parallel")
    assert_close(final, STATE, 0)
    assert ys.shape == (B, 0, H)


# ------------------------------------------------------------------- what is returned


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mask", [None, HOLES, np.zeros_like(HOLES)])
def test_the_last_output_is_that_of_the_last_valid_step(reverse, mask):
    mask = None if mask is None else jnp.array(mask)
    final, y = scan(mask=mask, reverse=reverse, return_sequence=False)
    expected, ys = scan(mask=mask, reverse=reverse)
    assert_close(final, expected)
    for b in range(B):
        steps = np.arange(T) if mask is None else np.flatnonzero(mask[b])
        if steps.size:
            assert_close(y[b], ys[b, steps[0 if reverse else -1]])
        else:
            np.testing.assert_array_equal(y[b], 0)


def test_the_last_output_stores_no_sequence():
    def temporaries(**options):
        grad = jax.jit(lambda p, xs: jrnn.scan(CELL, p, None, xs, **options)[1].sum())
        long = jnp.zeros((1, 4096, F))
        stats = grad.lower(PARAMS, long).compile().memory_analysis()
        return stats.temp_size_in_bytes + stats.output_size_in_bytes

    sequence = 4096 * H * 4
    assert temporaries() - temporaries(return_sequence=False) >= 0.9 * sequence


@pytest.mark.parametrize("reverse", [False, True])
def test_all_states_are_those_after_every_step(reverse):
    how = {"reverse": reverse, "mask": jnp.array(HOLES)}
    last, (ys, states) = scan(return_states=True, **how)
    final, expected = scan(**how)
    assert_close((last, ys), (final, expected))
    assert_close(jax.tree.map(lambda a: a[:, 0 if reverse else -1], states), final)
    assert_close(jnp.where(HOLES[..., None], states.h, 0), ys)


def test_output_and_state_may_differ_in_size():
    @dataclasses.dataclass(frozen=True)
    class Wide(jrnn.cells.Wrapper):
        cell: jrnn.Cell
        output_size = 2 * H

        def read(self, params, state, u):
            return jnp.concatenate([state.h, *u], axis=-1)

    cell = Wide(jrnn.Elman(H))
    params = randomise(shapes(cell, F), 1)
    _, ys = jrnn.scan(cell, params, None, XS, mask=jnp.array(HOLES))
    state, last = jrnn.scan(
        cell, params, None, XS, mask=jnp.array(HOLES), return_sequence=False
    )
    np.testing.assert_array_equal(ys[~HOLES], 0)
    assert_close(last, jnp.stack([ys[0, 5], ys[1, 6]]))
    assert_close(last[:, :H], state.h)


# -------------------------------------------------------------------------- compiling


def test_equal_calls_trace_once():
    traces = []

    @dataclasses.dataclass(frozen=True)
    class Spy(jrnn.cells.Wrapper):
        cell: jrnn.Cell

        def project(self, params, x, *, key=None):
            traces.append(1)
            return self.cell.project(params, x, key=key)

    for _ in range(3):
        spy = Spy(jrnn.LSTM(H))
        jrnn.scan(spy, PARAMS, STATE, XS, lengths=jnp.array([2, 3]))
        jrnn.scan(spy, PARAMS, STATE, XS + 1, lengths=jnp.array([1, 5]))
    first = len(traces)
    jrnn.scan(spy, PARAMS, STATE, XS, lengths=jnp.array([0, 1]))
    other = Spy(jrnn.LSTM(H, scheme="torch", forget_bias=3.0))
    assert other != spy  # and yet they compute the same
    jrnn.scan(other, PARAMS, STATE, XS, lengths=jnp.array([0, 1]))
    assert len(traces) == first
    jrnn.scan(spy, PARAMS, STATE, XS, unroll=2, lengths=jnp.array([0, 1]))
    assert len(traces) == 2 * first
