"""What comes from a maker may be donated: no two leaves are one buffer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn import training
from tests.cases import B, F, H, T, assert_close
from tests.test_layer_laws import LAYERS

XS = jnp.sin(jnp.arange(B * T * F * 1.0)).reshape(B, T, F)
MORE = {
    "zoneout of learned": jrnn.Recurrent(
        jrnn.Zoneout(jrnn.LearnedState(jrnn.LSTM(H)), 0.1)
    ),
    "normed": jrnn.Recurrent(jrnn.LayerNormed(jrnn.LSTM(H))),
    "learned ends": jrnn.Bidirectional(jrnn.LearnedState(jrnn.PeepholeLSTM(H))),
}


@pytest.mark.without("jax_debug_nans", reason="JAX donates nothing then")
@pytest.mark.parametrize("batch", [(B,), ()], ids=["batch", "no batch"])
@pytest.mark.parametrize(
    "layer", [*LAYERS.values(), *MORE.values()], ids=[*LAYERS, *MORE]
)
def test_parameters_and_states_of_layers(layer, batch):
    """Every buffer is taken and gone, and none of them was taken twice."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def take(params, state):
        return jax.tree.map(lambda a: a + 1, (params, state))

    params = layer.init(jax.random.key(0), F)
    state = layer.initial_state(params, batch)
    expected = jax.tree.map(lambda a: np.asarray(a) + 2, (params, state))
    taken = jax.tree.leaves((params, state))
    assert_close(take(*take(params, state)), expected)
    assert all(leaf.is_deleted() for leaf in taken)


OPTIMIZERS = {
    "optimizer": training.optimizer(optax.adam(0.1)),
    "zclip": training.optimizer(optax.chain(training.zclip(), optax.sgd(0.1))),
    "per layer": training.per_layer(training.optimizer(optax.adam(0.1))),
}


@pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_takes_parameters_and_both_states(tx):
    model = jrnn.Sequential(
        jrnn.Recurrent(jrnn.LearnedState(jrnn.LSTM(H))), jrnn.Dense(F)
    )

    def loss(params, state, chunk, key):
        state, ys = model.apply(params, state, chunk.data, mask=chunk.mask)
        return training.squared_error(ys, chunk.data, chunk.mask), state

    train = training.train_on_chunks(loss, tx)
    chunks = training.split_into_chunks(XS, 4)
    plain = functools.partial(jax.jit(train), chunks=chunks)
    donating = functools.partial(
        jax.jit(train, donate_argnums=(0, 1, 2)), chunks=chunks
    )

    def start():
        params = model.init(jax.random.key(0), F)
        return params, tx.init(params), model.initial_state(params, (B,))

    expected = plain(*plain(*start())[:3])
    assert_close(donating(*donating(*start())[:3]), expected)


def test_an_average_takes_itself_and_not_the_parameters():
    params = {"a": jnp.ones(3), "b": jnp.zeros(2)}
    average = training.start_average(params)
    both = jax.jit(
        lambda average, params: (training.add_to_average(average, params), params),
        donate_argnums=(0, 1),
    )
    average, params = both(*both(average, params))
    assert_close(average.mean, params)
