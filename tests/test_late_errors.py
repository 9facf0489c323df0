"""Errors come where a value is made or given, and name it."""

import jax
import jax.numpy as jnp
import optax
import pytest

import jrnn
from jrnn import training
from jrnn.layers.keys import optional_keys

IDS, XS = jnp.zeros((2, 3), int), jnp.ones((2, 3, 4))
MODEL = jrnn.Sequential(jrnn.Embed(7, 4), jrnn.Recurrent(jrnn.GRU(4)))
OTHER = jrnn.layers.DenseParams(jnp.ones((4, 3)), None)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: jrnn.Recurrent(jrnn.GRU(4), method="fast"), ValueError, "method"),
        (lambda: jrnn.Recurrent(jrnn.GRU(4), method=3), TypeError, "method"),
        (lambda: jrnn.Recurrent(jrnn.GRU(4), remat="all"), ValueError, "remat"),
        (lambda: jrnn.Recurrent(jrnn.GRU(4), remat=(0, 3)), ValueError, "remat"),
        (lambda: jrnn.LRU(4, r_min=-0.5), ValueError, "r_min must be at least 0"),
        (lambda: jrnn.LRU(4, r_max=2.0), ValueError, "r_max"),
        (lambda: jrnn.LRU(4, r_min=0.9, r_max=0.5), ValueError, "at least 0.9"),
        (lambda: jrnn.LRU(4, max_phase=0.0), ValueError, "max_phase must be positive"),
    ],
)
def test_options_are_checked_when_they_are_given(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda pair: jrnn.Stack(jrnn.GRU(4), pair, skip=True),
        lambda pair: jrnn.Bidirectional(pair, pair),
        lambda pair: jrnn.Bidirectional(jrnn.GRU(4), pair, merge="sum"),
    ],
)
def test_what_joins_outputs_takes_no_pair(make):
    pair = jrnn.Bidirectional(jrnn.GRU(4), merge=None)
    with pytest.raises(ValueError, match="needs one array, but Bidirectional"):
        make(pair)
    jrnn.Bidirectional(pair, pair, merge=None)


@pytest.mark.parametrize("method", ["bptt", training.BPTT, 3])
def test_a_gradient_method_is_an_instance(method):
    cell, loss = jrnn.GRU(4), training.squared_error
    for make in (
        lambda: training.value_and_grad(cell, loss, method),
        lambda: training.train_along(cell, loss, optax.sgd(0.1), method),
    ):
        with pytest.raises(TypeError, match=r"method must .* `TBPTT\(35\)`, got"):
            make()


def test_an_update_along_a_sequence_is_not_advised_a_method_without_a_window():
    with pytest.raises(TypeError, match=r"such as `RTRL\(\)` or `TBPTT\(35\)`"):
        training.train_along(jrnn.GRU(4), training.squared_error, optax.sgd(0.1), None)


def chunk_loss(params, state, chunk, key):
    return params * jnp.sum(chunk.data), state


ONE = jnp.ones(())
CHUNKS = training.split_into_chunks(jnp.ones(4), 2, batch_axes=0)


@pytest.mark.parametrize(
    "run",
    [
        training.truncated_value_and_grad(chunk_loss),
        training.folded_loss(chunk_loss),
        lambda params, state, chunks, key: training.fit(
            lambda p, batch, key: p, params, [1], optax.sgd(0.1), key=key
        ),
    ],
)
def test_a_seed_is_no_key(run):
    with pytest.raises(TypeError, match=r"key must be a key of JAX.* got 3"):
        run(ONE, ONE, CHUNKS, key=3)


@pytest.mark.parametrize(
    "run",
    [
        lambda: jrnn.Attention(6, 5).apply(OTHER, None, XS),
        lambda: jrnn.Tied(jrnn.Embed(7, 4), MODEL.layers[1]).apply(OTHER, None, IDS),
        lambda: jrnn.EncoderDecoder(MODEL, MODEL).apply(OTHER, IDS, IDS),
    ],
)
def test_parameters_of_another_layer_are_named(run):
    with pytest.raises(TypeError, match="params must be .*Params, got DenseParams"):
        run()


@pytest.mark.parametrize("layer", [MODEL, MODEL.layers[1], jrnn.Stack(jrnn.GRU(4))])
def test_parameters_that_are_left_out_are_named(layer):
    with pytest.raises((TypeError, ValueError), match="must .*, got None") as told:
        layer.apply(None, None, XS)
    assert "`init`" in str(told.value)


def test_one_number_for_the_parameters_of_layers_is_named():
    with pytest.raises(ValueError, match=r"params must have 2 entries .* got Array\(1"):
        MODEL.apply(jnp.float32(1), None, XS)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (jrnn.Recurrent(jrnn.GRU(4)), "w_h"),
        (jrnn.Recurrent(jrnn.LSTM(4)), "w_x"),
        (jrnn.Dense(4), "w"),
        (jrnn.Attention(6, 5), "w"),
    ],
    ids=str,
)
def test_a_matrix_that_is_left_out_is_named(layer, name):
    params = layer.init(jax.random.key(0), 4)._replace(**{name: None})
    with pytest.raises((TypeError, ValueError), match=rf"\.{name} must .*, got None"):
        layer.apply(params, None, XS)


@pytest.mark.parametrize("layer", [jrnn.Recurrent(jrnn.GRU(4)), jrnn.Dense(4)], ids=str)
def test_a_bias_may_be_left_out(layer):
    params = layer.init(jax.random.key(0), 4)
    biases = {name: None for name in params._fields if name.startswith("b")}
    layer.apply(params._replace(**biases), None, XS)


@pytest.mark.parametrize(
    "layer",
    [
        jrnn.Dropout(0.5),
        jrnn.Sequential(jrnn.Dropout(0.5)),
        jrnn.Stack(jrnn.GRU(4)),
        jrnn.Bidirectional(jrnn.GRU(4)),
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [3, jax.random.split(jax.random.key(0))])
def test_what_is_no_key_is_named(layer, key):
    params = layer.init(jax.random.key(0), 4)
    with pytest.raises(TypeError, match="key must be a key of JAX"):
        layer.apply(params, None, XS, key=key)


def test_keys_are_optional():
    key = jax.random.key(0)
    assert optional_keys(None, 3) == (None, None, None)
    assert optional_keys(key, 3) == tuple(jax.random.split(key, 3))
    with pytest.raises(TypeError, match="key must be a key of JAX"):
        optional_keys(3)


@pytest.mark.parametrize("params", [{"a": jnp.ones(3)}, OTHER])
def test_what_has_no_layers_is_not_clipped_by_layer(params):
    tx = training.per_layer(training.clip_gradients(1.0))
    with pytest.raises(TypeError, match="one entry per layer"):
        tx.init(params)
    assert len(tx.init((OTHER, OTHER))) == 2


@pytest.mark.parametrize("cell", [jrnn.GRU(4), jrnn.MinGRU(4)])
def test_random_cuts_are_refused_by_a_kernel_that_would_leave_them_out(cell):
    layer = jrnn.Recurrent(cell, method="parallel")
    params = layer.init(jax.random.key(0), 4)
    method = training.ARTBP(0.5)
    gradient = training.value_and_grad(layer, training.squared_error, method)
    with pytest.raises(ValueError, match="RandomCut.* replaces it by another one"):
        gradient(params, None, XS, XS, key=jax.random.key(1))


def test_a_tap_passes_counters():
    cell = jrnn.diagnostics.Tapped(jrnn.diagnostics.Tapped(jrnn.GRU(4), 3), 3)
    params = cell.init(jax.random.key(0), 4)
    loss = lambda params: jnp.sum(jrnn.scan(cell, params, None, XS)[1] ** 2)
    found = jax.grad(loss)(params)
    assert jnp.allclose(found.tap, found.cell.tap) and bool((found.tap > 0).all())
