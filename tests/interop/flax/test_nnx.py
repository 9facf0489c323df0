"""jrnn inside Flax nnx: the same numbers, and everything nnx does to a module."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from tests.cases import B, F, H, T, assert_close, randomise
from tests.interop.walk import Walk

nnx = pytest.importorskip("flax.nnx")
ours = pytest.importorskip("jrnn.interop.flax.nnx")

XS = randomise(np.zeros((B, T, F)), 2)
LENGTHS = jnp.array([3, T])


def make_cell(seed=0):
    return ours.NNXCell(jrnn.LSTM(H), F, rngs=nnx.Rngs(seed))


def make_layer(layer, seed=0):
    return ours.NNXLayer(layer, F, rngs=nnx.Rngs(seed))


def test_a_cell_drops_into_nnx_rnn():
    module = nnx.RNN(make_cell(), return_carry=True)
    params = ours.arrays(module.cell.params)

    @nnx.jit
    def theirs(module):
        def loss(module):
            state, ys = module(XS, seq_lengths=LENGTHS)
            return jnp.sum(ys[1] ** 2) + jnp.sum(state.c), (state, ys[1])

        return nnx.value_and_grad(loss, has_aux=True)(module)

    @jax.jit
    def expected(params):
        state, ys = jrnn.scan(jrnn.LSTM(H), params, None, XS, lengths=LENGTHS)
        return jnp.sum(ys[1] ** 2) + jnp.sum(state.c), (state, ys[1])

    value, slopes = theirs(module)
    slopes = jrnn.cells.LSTMParams(
        **nnx.to_pure_dict(slopes)["cell"]["params"], b_h=None
    )
    assert_close((value, slopes), jax.value_and_grad(expected, has_aux=True)(params))


def test_cells_drop_into_nnx_bidirectional():
    cells = make_cell(0), make_cell(1)
    params = jrnn.layers.BidirectionalParams(
        *[ours.arrays(cell.params) for cell in cells]
    )
    ys = nnx.Bidirectional(*map(nnx.RNN, cells))(XS)
    assert_close(ys, jrnn.Bidirectional(jrnn.LSTM(H)).apply(params, None, XS)[1])


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_a_layer_takes_masks_resets_and_states():
    module = make_layer(jrnn.Recurrent(jrnn.LSTM(H), reverse=True))
    state = jrnn.cells.LSTMState(*randomise([jnp.zeros((B, H))] * 2, 3))
    flags = jnp.arange(B * T).reshape(B, T) % 3 > 0
    how = {"mask": flags, "reset": ~flags}
    padded = jnp.where(flags[..., None], XS, jnp.nan)
    actual = module(padded, state=state, return_state=True, **how)
    params = ours.arrays(module.params)
    expected = jrnn.scan(jrnn.LSTM(H), params, state, XS, reverse=True, **how)
    assert_close(actual, expected)


def test_an_optimizer_trains_it_and_a_checkpoint_restores_it(tmp_path):
    layer = jrnn.Sequential(jrnn.Bidirectional(jrnn.Elman(H)), jrnn.Dense(2))
    module = make_layer(layer)
    optimizer = nnx.Optimizer(module, optax.adam(0.001), wrt=nnx.Param)

    @nnx.jit
    def train(module, optimizer):
        loss, slopes = nnx.value_and_grad(lambda m: jnp.sum(m(XS) ** 2))(module)
        optimizer.update(module, slopes)
        return loss

    losses = [float(train(module, optimizer)) for _ in range(4)]
    assert losses == sorted(losses, reverse=True)

    stored = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    assert set(stored["params"][0]["forward"]) == {"w_x", "w_h", "b_x"}
    checkpoint = pytest.importorskip("orbax.checkpoint")
    with checkpoint.StandardCheckpointer() as writer:
        writer.save(tmp_path / "model", stored)
        writer.wait_until_finished()
        read = writer.restore(tmp_path / "model", stored)
    other = make_layer(layer, seed=1)
    state = nnx.state(other, nnx.Param)
    nnx.replace_by_pure_dict(state, read)
    nnx.update(other, state)
    assert_close(other(XS), module(XS), 0)

    graph, state = nnx.split(module)
    assert hash(graph) == hash(nnx.graphdef(make_layer(layer)))
    assert_close(nnx.merge(graph, state)(XS), module(XS), 0)


def test_noise_comes_from_the_stream_dropout_until_eval():
    layer = jrnn.Sequential(jrnn.Recurrent(jrnn.GRU(H)), jrnn.Dropout(0.5))
    module = make_layer(layer)
    run = nnx.jit(lambda module: module(XS))
    one, two = run(module), run(module)
    module.eval()
    quiet = run(module)
    assert np.all(quiet != 0)
    assert not np.array_equal(one, two)
    assert_close(one, jnp.where(one == 0, 0, 2 * quiet))
    unseeded = ours.NNXLayer(layer, F, rngs=nnx.Rngs(params=0))
    assert np.all(unseeded(XS) != 0)
    assert np.any(unseeded(XS, rngs=nnx.Rngs(dropout=1)) == 0)


@pytest.mark.parametrize("fresh", [True, False])
def test_nnx_rnn_decides_whether_noise_is_fresh_at_each_step(fresh):
    cell = ours.NNXCell(Walk(H), F, rngs=nnx.Rngs(0))
    module = nnx.RNN(cell, broadcast_rngs=None if fresh else ...)
    zeros = jnp.zeros((1, T, F))
    steps = np.round(np.diff(module(zeros)[0, :, 0], n=2), 5)
    assert (len(set(steps.tolist())) > 1) == fresh
    module.eval()
    assert_close(module(zeros)[0, -1], cell.params.start[...])


def test_gradients_reach_a_learned_initial_state():
    module = nnx.RNN(ours.NNXCell(Walk(H), F, rngs=nnx.Rngs(params=0)))
    slopes = nnx.grad(lambda module: module(XS).sum())(module)
    start = slopes["cell"]["params"]["start"][...]
    assert_close(start, jnp.full(H, B * T * 1.0))


def test_a_bare_tuple_is_no_state():
    with pytest.raises(TypeError, match="state must be a LSTMState"):
        make_cell()((jnp.zeros((B, H)), jnp.zeros((B, H))), XS[:, 0])
