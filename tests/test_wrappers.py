"""Cells made of cells: what each changes, and all that it leaves as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests import cases
from tests.cases import B, F, H, T, assert_close, randomise, shapes


def setting(cell, batch=(B,), dtype=jnp.float32):
    return cases.setting(cases.Case(cell, None), batch, dtype)


def test_zoneout_keeps_units_at_its_rates_and_draws_at_every_step():
    cell = jrnn.Zoneout(jrnn.LSTM(50), rates=(0.25, 0.75))
    params, state, xs = setting(cell, batch=(20,))
    _, (_, states) = jrnn.scan(
        cell, params, state, xs, key=jax.random.key(0), return_states=True
    )
    for leaf, start, rate in zip(states, state, cell.rates, strict=True):
        before = jnp.concatenate([start[:, None], leaf[:, :-1]], axis=1)
        kept = leaf == before
        assert abs(float(kept.mean()) - rate) < 0.03
        assert not np.array_equal(kept[:, 0], kept[:, 1])
    with pytest.raises(ValueError, match="one per leaf"):
        jrnn.Zoneout(jrnn.LSTM(4), rates=(0.1,)).init(jax.random.key(0), 3)


def test_a_residual_cell_adds_images_of_one_size():
    cell = jrnn.ResidualCell(jrnn.ConvLSTM(2, (3,), (4,), padding="same"))
    for size in (2, (4, 2)):
        params = cell.init(jax.random.key(0), size)
    xs = randomise(np.zeros((B, 1, 4, 2)), 3)
    _, ys = jrnn.scan(cell, params, None, xs)
    assert_close(ys, xs + jrnn.scan(cell.cell, params, None, xs)[1])
    small = jrnn.ResidualCell(jrnn.ConvLSTM(2, (4,), (4,)))  # one column of output
    with pytest.raises(ValueError, match="must have the shape of its input"):
        jrnn.scan(small, small.init(jax.random.key(0), 2), None, xs)


def test_weight_drop_holds_one_mask_for_a_sequence():
    cell = jrnn.WeightDrop(jrnn.Elman(H, bias=False), 0.5)
    params, state, xs = setting(cell)
    key = jax.random.key(3)
    _, ys = jrnn.scan(cell, params, state, xs, key=key)
    dropped = cell.prepare(params, key=jax.random.split(key)[0])
    _, expected = jrnn.scan(cell.cell, dropped, state, xs)
    assert_close(ys, expected)
    assert 0 < int(jnp.sum(dropped.w_h == 0)) < H * H
    _, again = jrnn.scan(cell, params, state, xs, key=jax.random.key(4))
    assert float(jnp.abs(again - ys).max()) > 1e-3
    with pytest.raises(ValueError, match="leaves must be one of"):
        jrnn.WeightDrop(jrnn.GRU(H), 0.5, leaves=("w",)).init(key, F)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda cell: jrnn.Zoneout(cell, 0.3),
        lambda cell: jrnn.ClipCotangent(cell, norm=1.0),
        jrnn.LearnedState,
        jrnn.LayerNormed,
        jrnn.MixedPrecision,
    ],
)
def test_weight_drop_reaches_a_cell_inside_another_wrapper(wrap):
    cell = jrnn.WeightDrop(wrap(jrnn.Elman(H)), 0.5)
    params, state, xs = setting(cell)
    inside = getattr(params, "cell", params)
    prepared = cell.prepare(params, key=jax.random.key(3), batch_shape=(B,))
    w_h = getattr(prepared, "cell", prepared).w_h
    doubled = (2 * inside.w_h).astype(w_h.dtype)
    assert 0 < int(jnp.sum(w_h == 0)) < H * H
    assert bool(jnp.all((w_h == 0) | (w_h == doubled)))


def test_a_learned_state_shares_no_memory_with_the_parameters():
    cell = jrnn.LearnedState(jrnn.LearnedState(jrnn.GRU(H)))
    params = cell.init(jax.random.key(0), F)
    leaves = jax.tree.leaves((params, cell.initial_state(params)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def test_a_learned_state_starts_sequences_and_episodes():
    cell = jrnn.LearnedState(jrnn.GRU(H))
    params, _, xs = setting(cell)
    reset = jnp.zeros((B, T), bool).at[:, 3].set(True)
    _, ys = jrnn.scan(cell, params, None, xs, reset=reset)
    start = jax.tree.map(lambda a: jnp.stack([a] * B), params.state)
    _, head = jrnn.scan(cell.cell, params.cell, start, xs[:, :3])
    _, tail = jrnn.scan(cell.cell, params.cell, start, xs[:, 3:])
    assert_close(ys, jnp.concatenate([head, tail], axis=1))


@pytest.mark.parametrize(
    "inner", [jrnn.LSTM(16), jrnn.ResetBeforeGRU(16), jrnn.LRU(16)], ids=str
)
def test_mixed_precision_computes_narrow_and_remembers_wide(inner):
    cell = jrnn.MixedPrecision(inner)
    params = cell.init(jax.random.key(0), F)
    xs = randomise(np.zeros((B, 64, F)), 3, scale=1.0)

    def loss(params, cell):
        state, ys = jrnn.scan(cell, params, None, xs)
        return jnp.mean(jnp.square(ys.astype(jnp.float32))), (state, ys)

    slope = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    grads, (state, ys) = slope(params, cell)
    exact, (_, expected) = slope(params, inner)
    assert ys.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32"}
    assert jax.tree.map(jnp.result_type, grads) == jax.tree.map(jnp.result_type, params)
    scale = float(jnp.abs(expected).max())
    assert float(jnp.abs(ys.astype(jnp.float32) - expected).max()) < 0.03 * scale
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(exact), strict=True):
        assert float(jnp.abs(a - b).max()) < 0.05 * float(jnp.abs(b).max()) + 1e-4


@pytest.mark.parametrize(
    "cell",
    [
        jrnn.MixedPrecision(jrnn.LayerNormed(jrnn.GRU(H))),
        jrnn.MixedPrecision(jrnn.PeepholeLSTM(H)),
        jrnn.MixedPrecision(jrnn.ParaGRU(H)),
        jrnn.LayerNormed(jrnn.MixedPrecision(jrnn.GRU(H))),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_mixed_precision_promotes_nothing_silently(cell, dtype):
    params, state, xs = setting(cell, dtype=dtype)
    state = jax.tree.map(lambda a: a.astype(jnp.float32), state)

    def one_step(params, state, x):
        prepared = cell.prepare(params)
        return cell.step(prepared, state, cell.project(prepared, x))

    with jax.numpy_dtype_promotion("strict"):
        new = jax.eval_shape(one_step, params, state, np.asarray(xs)[:, 0])
    assert {leaf.dtype.name for leaf in jax.tree.leaves(new)} == {"float32"}


@pytest.mark.parametrize(
    "inner", [jrnn.Zoneout(jrnn.LSTM(F), 0.3), jrnn.ResidualCell(jrnn.LSTM(F))]
)
def test_layer_normed_refuses_a_cell_that_projects_more_than_a_matmul(inner):
    with pytest.raises(TypeError, match="Normalize the cell inside"):
        jrnn.LayerNormed(inner).init(jax.random.key(0), F)


def test_a_wide_memory_is_closer_to_float32_than_a_narrow_one():
    errors = {}
    inner = jrnn.LSTM(16, forget_bias=4.0)
    params = inner.init(jax.random.key(0), F)
    xs = randomise(np.zeros((B, 512, F)), 3, scale=1.0)
    _, exact = jrnn.scan(inner, params, None, xs)
    for memory in (jnp.float32, jnp.bfloat16):
        cell = jrnn.MixedPrecision(inner, state=memory)
        state, ys = jrnn.scan(cell, params, None, xs)
        if memory == jnp.float32:  # more digits than bfloat16 has
            narrow = state.c.astype(jnp.bfloat16).astype(jnp.float32)
            assert float(jnp.mean(narrow == state.c)) < 0.1
        errors[memory] = float(jnp.abs(ys.astype(jnp.float32) - exact).mean())
    assert errors[jnp.float32] < 0.7 * errors[jnp.bfloat16]


EXPLODING = jrnn.Elman(4, activation=jrnn.activations.identity, bias=False)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("bound", [{"value": 1.0}, {"norm": 1.0}], ids=str)
def test_clipping_on_the_way_back_stays_finite_where_the_norm_is_infinite(bound):
    q = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (4, 4), jnp.float32))[0]
    params = jrnn.cells.ElmanParams(jnp.eye(4, dtype=jnp.float32), 1.5 * q, None)
    xs = jnp.zeros((500, 4), jnp.float32)
    xs = xs.at[400:].set(1e-30)  # the outputs stay finite

    def loss(params, cell):
        return jnp.sum(jrnn.scan(cell, params, None, xs)[1][-1])

    slope = jax.jit(jax.grad(loss), static_argnums=1)
    plain = slope(params, EXPLODING)
    tx = jrnn.training.clip_gradients(1.0)
    updates, report = tx.update(plain, tx.init(params))
    assert not jnp.isfinite(report.norm)
    assert not jnp.isfinite(updates.w_h).all()
    clipped = slope(params, jrnn.ClipCotangent(EXPLODING, **bound))
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(clipped))
    assert float(jnp.abs(clipped.w_x).max()) > 0


def test_a_wide_clip_changes_nothing_and_a_narrow_one_bounds_each_example():
    params, state, xs = setting(EXPLODING)

    def loss(state, cell):
        return jnp.sum(jrnn.scan(cell, params, state, xs)[1][:, -1])

    slope = jax.jit(jax.grad(loss), static_argnums=1)
    exact = slope(state, EXPLODING)
    wide = slope(state, jrnn.ClipCotangent(EXPLODING, norm=1e6))
    assert_close(wide, exact, 1e-6)
    narrow = slope(state, jrnn.ClipCotangent(EXPLODING, norm=1e-3))
    assert float(jnp.linalg.norm(narrow.h, axis=-1).max()) <= 1.001e-3
    assert float(jnp.linalg.norm(exact.h, axis=-1).min()) > 2e-3
    by_value = slope(state, jrnn.ClipCotangent(EXPLODING, value=1e-3))
    assert float(jnp.abs(by_value.h).max()) <= 1e-3
    with pytest.raises(ValueError, match="got value=None, norm=None"):
        jrnn.ClipCotangent(EXPLODING)
    with pytest.raises(ValueError, match="got value=2.0, norm=3.0"):
        jrnn.ClipCotangent(EXPLODING, value=2.0, norm=3.0)


def test_a_clipped_state_keeps_the_structure_that_a_clip_leaves():
    for cell, structure in (
        (jrnn.IndRNN(H), "diagonal"),
        (jrnn.LRU(H), ("block", 2)),
        (jrnn.MinGRU(H), "dense"),
        (jrnn.LSTM(H), "dense"),
    ):
        clipped = jrnn.ClipState(cell, bounds=0.25)
        assert clipped.structure == structure
        params = randomise(shapes(clipped, F), 1)
        jrnn.check_structure(clipped, params, input_size=F)
        state, _ = jrnn.scan(clipped, params, None, jnp.ones((B, T, F)))
        assert max(float(jnp.abs(a).max()) for a in jax.tree.leaves(state)) <= 0.25
    with pytest.raises(ValueError, match="one per leaf of the state"):
        jrnn.ClipState(jrnn.LSTM(H), bounds=(0.2,)).init(jax.random.key(0), F)
    with pytest.raises(ValueError, match="bounds must be positive"):
        jrnn.ClipState(jrnn.LSTM(H), bounds=-1.0)
