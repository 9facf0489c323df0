"""Stacks of different Haiku cores: their order, skip connections and states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop import haiku
from tests.cases import assert_close, randomise

T, B, F = 5, 3, 2
LAYERS = (
    jrnn.Recurrent(jrnn.LSTM(4)),
    jrnn.Recurrent(jrnn.ResetBeforeGRU(3)),
    jrnn.Recurrent(jrnn.Elman(6, jrnn.activations.relu, separate_biases=True)),
    jrnn.Recurrent(jrnn.LSTM(7)),
)
ORDER = ["lstm", "gru", "vanilla_rnn", "lstm_1"]


@pytest.mark.parametrize("skip", [False, True])
def test_cores_of_several_kinds_compute_the_same(skip):
    hk = pytest.importorskip("haiku")

    def run(xs, state):
        cores = [hk.LSTM(4), hk.GRU(3), hk.VanillaRNN(6), hk.LSTM(7)]
        make = hk.deep_rnn_with_skip_connections if skip else hk.DeepRNN
        return hk.dynamic_unroll(make(cores), xs, state)

    layer = jrnn.Stack(*LAYERS, skip=True) if skip else jrnn.Sequential(*LAYERS)
    state = randomise(
        jax.eval_shape(
            lambda: layer.initial_state(layer.init(jax.random.key(0), F), (B,))
        ),
        3,
    )
    xs = np.random.default_rng(0).standard_normal((T, B, F)).astype("float32")
    model = hk.without_apply_rng(hk.transform(run))
    theirs = haiku.state_to_haiku(layer, state)
    drawn = jax.eval_shape(model.init, jax.random.key(0), xs, theirs)
    weights = randomise(drawn, 1)
    ys, final = model.apply(weights, xs, theirs)
    made, params = haiku.from_params(weights, order=ORDER)
    assert made == layer
    after, actual = made.apply(params, state, jnp.swapaxes(xs, 0, 1))
    assert_close(jnp.swapaxes(actual, 0, 1), ys, 1e-5)
    assert_close(after, haiku.state_from_haiku(made, final), 1e-5)
    written = haiku.to_params(made, params)
    bare = {name.removeprefix("deep_rnn/~/"): own for name, own in weights.items()}
    assert_close(written, bare, 1e-6)


def test_an_order_must_name_every_core():
    params = jrnn.Sequential(*LAYERS).init(jax.random.key(0), F)
    weights = haiku.to_params(jrnn.Sequential(*LAYERS), params)
    with pytest.raises(ValueError, match="Pass `order=` with these names"):
        haiku.from_params(weights)
    for order in (ORDER[:3], [*ORDER, "gru"], ["lstm", "gru", "rnn", "lstm_1"]):
        with pytest.raises(ValueError, match="must name each of the cores"):
            haiku.from_params(weights, order=order)
    with pytest.raises(ValueError, match="must take the 7 features|features"):
        haiku.from_params(weights, order=ORDER[::-1])


def test_other_libraries_have_no_skip_connections():
    layer = jrnn.Stack(jrnn.LSTM(4), jrnn.LSTM(4), skip=True)
    params = layer.init(jax.random.key(0), F)
    with pytest.raises(ValueError, match="no stack with skip connections"):
        jrnn.interop.flax.to_linen_params(layer, params)
    plain = jrnn.Stack(jrnn.LSTM(4), jrnn.LSTM(4))
    params = plain.init(jax.random.key(0), F)
    found = jrnn.interop.flax.from_linen_params(
        jrnn.interop.flax.to_linen_params(plain, params)
    )
    assert found[0].layers == plain.layers
    assert_close(found[1], params, 0)
