"""Layers, each against what its docstring says in numpy, and in combination."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cases import B, F, H, T, assert_close, randomise, shapes

XS = randomise(np.zeros((B, T, F)), 3, scale=1.0)
LENGTHS = jnp.array([3, T])


def drawn(layer, size=F):
    return randomise(shapes(layer, size), 1)


@pytest.mark.parametrize("merge", ["concat", "sum", "mean", "mul", None])
def test_bidirectional_merges_both_directions(merge):
    layer = jrnn.Bidirectional(jrnn.GRU(H), jrnn.Elman(H), merge=merge)
    params = drawn(layer)
    state, ys = layer.apply(params, None, XS, lengths=LENGTHS)
    one, a = jrnn.scan(layer.forward, params.forward, None, XS, lengths=LENGTHS)
    two, b = jrnn.scan(
        layer.backward, params.backward, None, XS, lengths=LENGTHS, reverse=True
    )
    expected = {
        "concat": np.concatenate([a, b], -1),
        "sum": a + b,
        "mean": (a + b) / 2,
        "mul": a * b,
        None: (a, b),
    }[merge]
    assert_close(ys, jax.tree.map(jnp.asarray, expected))
    assert_close(state, jrnn.layers.BidirectionalState(one, two))


def test_the_last_outputs_of_both_directions_are_their_final_states():
    last_only = jrnn.Recurrent(jrnn.LSTM(H), return_sequence=False)
    layer = jrnn.Bidirectional(last_only)
    state, y = layer.apply(drawn(layer), None, XS, lengths=LENGTHS)
    assert_close(y, jnp.concatenate([state.forward.h, state.backward.h], -1))
    full = jrnn.Bidirectional(jrnn.LSTM(H)).apply(drawn(layer), None, XS)[1]
    last = layer.apply(drawn(layer), None, XS)[1]
    assert_close(last, jnp.concatenate([full[:, -1, :H], full[:, 0, H:]], -1))


def test_directions_have_parameters_of_their_own_and_sizes_must_fit_the_merge():
    params = jrnn.Bidirectional(jrnn.GRU(H)).init(jax.random.key(0), F)
    assert np.any(params.forward.w_x != params.backward.w_x)
    assert jrnn.Bidirectional(jrnn.GRU(H), jrnn.GRU(5)).output_size == H + 5
    with pytest.raises(ValueError, match="must be equal"):
        drawn(jrnn.Bidirectional(jrnn.GRU(H), jrnn.GRU(5), merge="sum"))
    with pytest.raises(ValueError, match="merge must be one of"):
        drawn(jrnn.Bidirectional(jrnn.GRU(H), merge="max"))
    for sides in ((jrnn.GRU(H), jrnn.Dropout(0.1)), (jrnn.LayerNorm(), jrnn.GRU(H))):
        with pytest.raises(ValueError, match="its input. End that.*jrnn.Dense"):
            jrnn.Bidirectional(*sides)
        assert jrnn.Bidirectional(*sides, merge="sum").init(jax.random.key(0), H)


def test_a_direction_is_a_cell_or_a_layer():
    gru, lstm = jrnn.GRU(H), jrnn.LSTM(5)
    cells = jrnn.Bidirectional(gru, lstm)
    layers = jrnn.Bidirectional(
        jrnn.Recurrent(gru), jrnn.Sequential(jrnn.Recurrent(lstm, reverse=True))
    )
    params = drawn(cells)
    nested = params._replace(backward=(params.backward,))
    expected = cells.apply(params, None, XS, lengths=LENGTHS)[1]
    assert_close(layers.apply(nested, None, XS, lengths=LENGTHS)[1], expected)
    assert layers.output_size == H + 5
    mirrored = jrnn.Bidirectional(jrnn.Recurrent(gru, unroll=2))
    assert mirrored.layers[1] == jrnn.Recurrent(gru, reverse=True, unroll=2)
    for make, message in [
        (lambda: jrnn.Bidirectional(jrnn.Recurrent(gru, reverse=True)), "Remove it"),
        (lambda: jrnn.Bidirectional(gru, jrnn.Recurrent(gru)), "Set reverse=True"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="backward must be a cell or a layer"):
        jrnn.Bidirectional(jrnn.Sequential(jrnn.Recurrent(gru)))
    with pytest.raises(TypeError, match="forward must be a layer, got the class GRU"):
        jrnn.Bidirectional(jrnn.GRU)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("padding", [0.0, 7.0, np.nan])
def test_padding_is_inert_through_a_whole_stack(padding):
    model = jrnn.Sequential(
        jrnn.Bidirectional(jrnn.LSTM(H)),
        jrnn.Recurrent(jrnn.GRU(5), reverse=True),
        jrnn.Residual(jrnn.Recurrent(jrnn.Elman(5))),
    )
    params = drawn(model)
    padded = XS.at[0, 3:].set(padding)
    state, ys = model.apply(params, None, padded, lengths=LENGTHS)
    short, expected = model.apply(params, None, XS[:1, :3])
    assert_close(ys[:1, :3], expected)
    np.testing.assert_array_equal(ys[0, 3:], 0)
    assert_close(jax.tree.map(lambda a: a[:1], state), short)


def test_flags_may_be_lists_and_are_checked():
    layer = jrnn.Dense(2)
    expected = layer.apply(drawn(layer), (), XS, lengths=LENGTHS)[1]
    assert_close(layer.apply(drawn(layer), (), XS, lengths=[3, T])[1], expected)
    with pytest.raises(TypeError, match="mask must be boolean"):
        layer.apply(drawn(layer), (), XS, mask=jnp.ones((B, T), int))
    assert layer.apply(drawn(layer), (), XS[:, :0], mask=jnp.ones((B, 0), bool))


def test_pointwise_layers_agree_with_numpy():
    dense = jrnn.Dense(5)
    p = drawn(dense)
    assert_close(dense.apply(p, (), XS)[1], jnp.array(np.array(XS) @ p.w + p.b))
    assert jrnn.Dense(5, bias=False).init(jax.random.key(0), F).b is None
    norm = jrnn.LayerNorm()
    p = drawn(norm)
    x = np.array(XS, np.float64)
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    assert_close(norm.apply(p, (), XS)[1], jnp.array(p.scale * normal + p.shift))


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("layer", [jrnn.Dense(5), jrnn.LayerNorm()], ids=repr)
@pytest.mark.parametrize("flags", [{"lengths": LENGTHS}, {"mask": jnp.arange(T) < 3}])
def test_padding_reaches_no_gradient_of_a_pointwise_layer(layer, flags):
    flags = {
        k: jnp.broadcast_to(v, (B, T) if k == "mask" else (B,))
        for k, v in flags.items()
    }
    valid = flags.get("mask", jnp.arange(T) < LENGTHS[:, None])[..., None]

    def loss(params, xs):
        ys = layer.apply(params, (), xs, **flags)[1]
        return jnp.sum(jnp.where(valid, jnp.sin(ys), 0))

    slope = jax.grad(loss, (0, 1))
    clean = slope(drawn(layer), jnp.where(valid, XS, 0))
    assert_close(slope(drawn(layer), jnp.where(valid, XS, jnp.nan)), clean)


def test_what_stands_in_padding_need_not_be_an_id():
    embed = jrnn.Embed(4, 3)
    params = embed.init(jax.random.key(0))
    ids = jnp.array([[0, 3, -1], [1, 2, 3]])
    ys = embed.apply(params, (), ids, lengths=[2, 3])[1]
    np.testing.assert_array_equal(ys[0, :2], params.table[ids[0, :2]])
    with pytest.raises(ValueError, match="contains the id -1"):
        embed.apply(params, (), ids, lengths=[3, 3])


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_embed_never_returns_another_symbol():
    embed = jrnn.Embed(4, 3)
    params = embed.init(jax.random.key(0))
    ids = jnp.array([[0, 3, 1]])
    np.testing.assert_array_equal(embed.apply(params, (), ids)[1], params.table[ids])
    traced = jax.jit(lambda ids: embed.apply(params, (), ids)[1])
    np.testing.assert_array_equal(traced(ids), params.table[ids])
    for bad in (4, -1):
        assert np.all(np.isnan(traced(jnp.array([bad]))))
        with pytest.raises(ValueError, match=f"contains the id {bad}"):
            embed.apply(params, (), jnp.array([bad]))
    with pytest.raises(TypeError, match="integer ids"):
        embed.apply(params, (), jnp.ones(3))


@pytest.mark.parametrize("locked", [False, True])
def test_dropout_keeps_the_mean_and_its_mask(locked):
    layer = jrnn.Dropout(0.25, locked=locked)
    key, ones = jax.random.key(0), jnp.ones((300, T, 40))
    ys = np.array(layer.apply((), (), ones, key=key)[1])
    np.testing.assert_allclose(np.unique(ys), [0, 4 / 3], rtol=1e-6)
    np.testing.assert_allclose(ys.mean(), 1, atol=0.01)
    assert np.all(ys == ys[:, :1]) == locked
    assert np.any(ys[0] != ys[1])
    np.testing.assert_array_equal(layer.apply((), (), ones, key=key)[1], ys)
    assert np.any(layer.apply((), (), ones, key=jax.random.key(1))[1] != ys)
    np.testing.assert_array_equal(layer.apply((), (), ones)[1], ones)
    np.testing.assert_array_equal(
        jrnn.Dropout(0.0).apply((), (), ones, key=key)[1], ones
    )
    with pytest.raises(ValueError, match="rate must be a probability"):
        jrnn.Dropout(1.0).init(key, 3)


@pytest.mark.parametrize("layer", [jrnn.Dropout(0.5), jrnn.LayerNorm()], ids=repr)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float64], ids=str)
def test_an_array_of_numpy_gets_the_dtype_that_jax_gives_it(layer, dtype):
    xs = np.array(XS, dtype)
    expected = jnp.array(xs)
    params = layer.init(jax.random.key(0), F, expected.dtype)
    ys = layer.apply(params, (), xs, key=jax.random.key(1))[1]
    assert ys.dtype == expected.dtype


def test_sequential_threads_sizes_states_and_keys():
    model = jrnn.Sequential(
        jrnn.Recurrent(jrnn.LSTM(H)), jrnn.LayerNorm(), jrnn.Dropout(0.5), jrnn.Dense(2)
    )
    params = drawn(model)
    assert model.output_size == 2 and params[1].scale.shape == (H,)
    state, ys = model.apply(params, None, XS)
    middle, head = model.apply(params, None, XS[:, :3])
    final, tail = model.apply(params, middle, XS[:, 3:])
    assert_close((final, jnp.concatenate([head, tail], 1)), (state, ys))
    assert_close(model.apply(params, model.initial_state(params, (B,)), XS)[1], ys)
    assert np.any(model.apply(params, None, XS, key=jax.random.key(0))[1] != ys)
    with pytest.raises(ValueError, match="params must have 4 entries"):
        model.apply(params[:3], None, XS)
    with pytest.raises(ValueError, match="at least 1"):
        jrnn.Sequential().init(jax.random.key(0), 3)


def test_residual_adds_its_input_and_refuses_another_size():
    layer = jrnn.Residual(jrnn.Recurrent(jrnn.GRU(F)))
    params = drawn(layer)
    expected = jrnn.scan(jrnn.GRU(F), params, None, XS)[1] + XS
    assert_close(layer.apply(params, None, XS)[1], expected)
    with pytest.raises(ValueError, match="must be equal"):
        drawn(jrnn.Residual(jrnn.Dense(F + 1)))
    with pytest.raises(ValueError, match="returns one output for a whole sequence"):
        jrnn.Residual(jrnn.Recurrent(jrnn.GRU(F), return_sequence=False))


def test_layers_are_plain_values():
    model = jrnn.Sequential(
        jrnn.Embed(7, 4), jrnn.Residual(jrnn.Recurrent(jrnn.LSTM(4))), jrnn.Dense(7)
    )
    assert pickle.loads(pickle.dumps(model)) == model
    assert hash(pickle.loads(pickle.dumps(model))) == hash(model)
    assert repr(model) == (
        "Sequential(Embed(vocabulary=7, features=4), Residual(layer=Recurrent("
        "cell=LSTM(hidden_size=4))), Dense(features=7))"
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: jrnn.Dense(4, bias="double"), TypeError, "bias must be True or False"),
        (lambda: jrnn.Dense(4.0), TypeError, "features must be an integer"),
        (lambda: jrnn.Dense(0), ValueError, "features must be at least 1"),
        (lambda: jrnn.Embed(0, 4), ValueError, "vocabulary must be at least 1"),
        (lambda: jrnn.Embed(7, "4"), TypeError, "features must be an integer"),
        (lambda: jrnn.LayerNorm("small"), TypeError, "epsilon must be a number"),
        (lambda: jrnn.LayerNorm(0.0), ValueError, "epsilon must be positive, got 0.0"),
        (
            lambda: jrnn.LayerNorm().init(jax.random.key(0), F, jnp.int32),
            TypeError,
            "dtype must be a floating-point dtype",
        ),
        (lambda: jrnn.Dropout(1.0), ValueError, "rate"),
        (lambda: jrnn.Dropout("half"), TypeError, "rate must be a number"),
        (lambda: jrnn.Dropout(0.5, locked=1), TypeError, "locked must be True or"),
        (lambda: jrnn.Sequential(jrnn.GRU(4)), TypeError, "Wrap a cell in"),
        (
            lambda: jrnn.Residual(jrnn.GRU(4)),
            TypeError,
            "Residual.layer must be a layer",
        ),
    ],
)
def test_a_layer_checks_its_options_when_it_is_built(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_layer_of_a_model_is_named():
    layer = jrnn.Recurrent(jrnn.GRU(4))
    model = jrnn.Sequential(jrnn.Dense(3), jrnn.Sequential(layer))
    dense, _ = model.init(jax.random.key(0), 5)
    wide = layer.init(jax.random.key(1), 7)
    with pytest.raises(ValueError, match="xs must have 7 features") as told:
        model.apply((dense, (wide,)), None, jnp.ones((2, 3, 5)))
    assert told.value.__notes__[-2:] == [
        f"In layers[0] of Sequential: {layer!r}",
        f"In layers[1] of Sequential: {model.layers[1]!r}",
    ]
