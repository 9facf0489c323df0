"""Modules of the other libraries, with our weights, compute what our layers do."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop import equinox, flax, haiku, keras
from tests.cases import randomise

os.environ.setdefault("KERAS_BACKEND", "jax")
B, T, F, H = 2, 5, 3, 4


@pytest.fixture(autouse=True)
def float64(request):
    """Double precision, but for Keras, whose float32 policy this would break."""
    with jax.enable_x64("keras" not in request.node.name):
        yield


def setting(layer, features=(F,), dtype=jnp.float64):
    """Random parameters without a zero, and inputs."""
    shapes = jax.eval_shape(lambda k: layer.init(k, features[-1]), jax.random.key(0))
    params = randomise(shapes, 0, dtype)
    return params, randomise(np.zeros((B, T, *features)), 1, dtype)


def compare(ours, theirs, tolerance=1e-12):
    ours, theirs = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=0, atol=tolerance)


LINEN = {
    "SimpleCell": (jrnn.Elman(H, separate_biases=True), (F,)),
    "OptimizedLSTMCell": (jrnn.LSTM(H, separate_biases=True), (F,)),
    "GRUCell": (jrnn.GRU(H, separate_biases=True), (F,)),
    "MGUCell": (jrnn.MGU(H), (F,)),
    "ConvLSTMCell": (jrnn.ConvLSTM(H, (2, 3), (4, 5), padding="same"), (4, 5, F)),
}


@pytest.mark.parametrize("name", LINEN)
def test_linen(name):
    nn = pytest.importorskip("flax.linen")
    cell, features = LINEN[name]
    layer = jrnn.Recurrent(cell)
    params, xs = setting(layer, features)
    more = {"kernel_size": cell.kernel_size} if name == "ConvLSTMCell" else {}
    kind = getattr(nn, name)
    module = nn.RNN(kind(H, param_dtype=jnp.float64, **more), return_carry=True)
    tree = {"params": flax.to_linen_params(layer, params)}
    state, ys = layer.apply(params, None, xs)
    carry, theirs = jax.jit(module.apply)(tree, xs)
    compare((flax.state_to_flax(layer, state), ys), (carry, theirs))


@pytest.mark.parametrize("name", ["LSTMCell", "OptimizedLSTMCell", "GRUCell"])
def test_nnx(name):
    nnx = pytest.importorskip("flax.nnx")
    layer = jrnn.Bidirectional(jrnn.GRU(H) if name == "GRUCell" else jrnn.LSTM(H))
    params, xs = setting(layer)
    if name == "GRUCell":  # which has no bias under the reset gate
        none = [own._replace(b_h=None) for own in params]
        params = jrnn.layers.BidirectionalParams(*none)
    make = lambda: nnx.RNN(
        getattr(nnx, name)(F, H, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    )
    module = nnx.Bidirectional(make(), make())
    optimized = name == "OptimizedLSTMCell"
    tree = flax.to_nnx_params(layer, params, optimized=optimized)
    nnx.update(module, tree)
    _, ys = layer.apply(params, None, xs)
    compare(ys, module(xs))
    back, same = flax.from_nnx_params(nnx.state(module, nnx.Param))
    assert back == layer
    compare(same, params)


HAIKU = {
    "LSTM": jrnn.LSTM(H, separate_biases=True),
    "GRU": jrnn.ResetBeforeGRU(H),
    "VanillaRNN": jrnn.Elman(H, activation=jrnn.activations.relu, separate_biases=True),
}


@pytest.mark.parametrize("name", HAIKU)
def test_haiku(name):
    hk = pytest.importorskip("haiku")
    layer = jrnn.Recurrent(HAIKU[name])
    params, xs = setting(layer)

    def unroll(xs, state):
        return hk.dynamic_unroll(getattr(hk, name)(H), xs, state, time_major=False)

    start = layer.initial_state(params, (B,))
    module = hk.without_apply_rng(hk.transform(unroll))
    given = haiku.state_to_haiku(layer, start)
    theirs, last = module.apply(haiku.to_params(layer, params), xs, given)
    state, ys = layer.apply(params, start, xs)
    compare((ys, haiku.state_to_haiku(layer, state)), (theirs, last))


@pytest.mark.parametrize(
    "cell", [jrnn.LSTM(H), jrnn.GRU(H, separate_biases=True)], ids=str
)
def test_equinox(cell):
    pytest.importorskip("equinox")
    layer = jrnn.Recurrent(cell)
    params, xs = setting(layer)
    module = equinox.to_module(layer, params)
    _, ys = layer.apply(params, None, xs[0])
    state = equinox.state_to_equinox(layer, layer.initial_state(params))
    for x, y in zip(xs[0], ys, strict=True):
        state = module(x, state)
        compare(y, jax.tree.leaves(state)[0])
    again, same = equinox.from_module(module)
    assert type(again.cell) is type(cell)
    compare(layer.apply(params, None, xs)[1], again.apply(same, None, xs)[1])


KERAS = {
    "SimpleRNN": (jrnn.Recurrent(jrnn.Elman(H)), (F,)),
    "LSTM": (jrnn.Bidirectional(jrnn.LSTM(H), merge="mean"), (F,)),
    "GRU": (jrnn.Recurrent(jrnn.GRU(H)), (F,)),
    "ConvLSTM2D": (
        jrnn.Recurrent(jrnn.ConvLSTM(2, (2, 3), (4, 5), (2, 1), padding="same")),
        (4, 5, F),
    ),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras(name):
    library = pytest.importorskip("keras")
    layer, features = KERAS[name]
    params, xs = setting(layer, features, jnp.float32)
    kind = getattr(library.layers, name)
    if name == "ConvLSTM2D":
        module = kind(2, (2, 3), (2, 1), padding="same", return_sequences=True)
    elif name == "LSTM":
        module = library.layers.Bidirectional(kind(H, return_sequences=True), "ave")
    else:
        module = kind(H, return_sequences=True)
    module.build(xs.shape)
    module.set_weights(keras.to_weights(layer, params))
    _, ys = layer.apply(params, None, xs)
    compare(ys, module(xs), 1e-6)
    config = library.saving.serialize_keras_object(module)
    again, same = keras.from_weights(module.get_weights(), config)
    compare(ys, again.apply(same, None, xs)[1], 1e-6)
