"""The peephole LSTM: recorded numbers, and the plain LSTM as its limit."""

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from tests import oracles
from tests.cases import Case, F, H, assert_close, randomise, setting


def test_the_output_gate_sees_the_new_memory():
    cell = jrnn.PeepholeLSTM(1, bias=False)
    ones = jax.tree.map(jnp.ones_like, cell.init(jax.random.key(0), 1))
    before = jrnn.cells.LSTMState(h=jnp.zeros(1), c=jnp.ones(1))
    state, y = jrnn.step(cell, ones, before, jnp.ones(1))
    np.testing.assert_allclose(state.c, 1.551607, atol=1e-6)
    np.testing.assert_allclose(y, 0.847947, atol=1e-6)  # 0.805093 with the old memory


def test_without_peepholes_and_coupling_it_is_the_plain_lstm():
    plain = jrnn.LSTM(H, separate_biases=True)
    params, state, xs = setting(Case(plain, oracles.lstm), dtype=jnp.float32)
    bare = jrnn.PeepholeLSTM(H, peepholes=False)
    zero = jrnn.PeepholeLSTM(H)
    expected = jrnn.scan(plain, params, state, xs)
    same = jrnn.cells.PeepholeLSTMParams(*params)
    assert_close(jrnn.scan(bare, same, state, xs), expected)
    same = same._replace(p=jnp.zeros(3 * H, xs.dtype))
    assert_close(jrnn.scan(zero, same, state, xs), expected)


def test_coupled_gates_are_those_of_a_plain_lstm_with_negated_weights():
    coupled = jrnn.PeepholeLSTM(H, coupled=True, peepholes=False)
    case = Case(coupled, oracles.peephole_lstm)
    params, state, xs = setting(case, dtype=jnp.float32)

    def uncouple(a):
        i, g, o = jnp.split(a, 3, axis=-1)
        return jnp.concatenate([i, -i, g, o], axis=-1)  # 1 - sigmoid(i) = sigmoid(-i)

    plain = jrnn.cells.LSTMParams(*(uncouple(a) for a in params[:3]))
    expected = jrnn.scan(jrnn.LSTM(H), plain, state, xs)
    assert_close(jrnn.scan(coupled, params, state, xs), expected)


def test_the_forget_bias_keeps_memory_at_the_start():
    free = jrnn.PeepholeLSTM(H, forget_bias=2.0).init(jax.random.key(0), F)
    tied = jrnn.PeepholeLSTM(H, coupled=True, forget_bias=2.0).init(
        jax.random.key(0), F
    )
    np.testing.assert_array_equal(free.b_x, np.repeat([0.0, 2.0, 0.0, 0.0], H))
    np.testing.assert_array_equal(tied.b_x, np.repeat([-2.0, 0.0, 0.0], H))
    assert free.p.shape == (3 * H,) and tied.p.shape == (2 * H,)
    bare = jrnn.PeepholeLSTM(H, peepholes=False).init(jax.random.key(0), F)
    assert bare.p is None and randomise(bare, 1).p is None
