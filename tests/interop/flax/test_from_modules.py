"""Flax modules inside jrnn: values, with inert padding and gradients everywhere."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cases import B, F, T, assert_close, randomise

nn = pytest.importorskip("flax.linen")
nnx = pytest.importorskip("flax.nnx")
FromLinen = pytest.importorskip("jrnn.interop.flax.linen").FromLinen
FromNNX = pytest.importorskip("jrnn.interop.flax.nnx").FromNNX

SIZE = 4
KEY = jax.random.key(0)


def attend_linen(module, xs, *, mask, train):
    pairs = None if mask is None else nn.make_attention_mask(mask, mask)
    return module(xs, mask=pairs, deterministic=not train)


def attend_nnx(module, xs, *, mask, train):
    pairs = None if mask is None else nnx.make_attention_mask(mask, mask)
    return module(xs, mask=pairs, deterministic=not train)


def build_attention(size, rngs):
    return nnx.MultiHeadAttention(
        2, size, decode=False, dropout_rate=0.5, broadcast_dropout=False, rngs=rngs
    )


def build_norm(size, rngs):
    return nnx.LayerNorm(size, rngs=rngs)


def build_dense(size, rngs):
    return nnx.Linear(size, 5, rngs=rngs)


def build_dropout(size, rngs):
    del size
    return nnx.Dropout(0.5, rngs=rngs)


def build_embed(size, rngs):
    assert size == 0
    return nnx.Embed(7, SIZE, rngs=rngs)


def build_batch_norm(size, rngs):
    return nnx.BatchNorm(size, rngs=rngs)


ATTENTION = nn.MultiHeadDotProductAttention(2, dropout_rate=0.5)
LAYERS = {
    "linen": {
        "attention": FromLinen(ATTENTION, call=attend_linen),
        "norm": FromLinen(nn.LayerNorm()),
        "dense": FromLinen(nn.Dense(5), output_size=5),
        "unsized": FromLinen(nn.Dense(5)),
        "dropout": FromLinen(nn.Dropout(0.5, deterministic=False)),
        "embed": FromLinen(nn.Embed(7, SIZE), output_size=SIZE),
        "batch": FromLinen(nn.BatchNorm(use_running_average=False)),
    },
    "nnx": {
        "attention": FromNNX(build_attention, call=attend_nnx),
        "norm": FromNNX(build_norm),
        "dense": FromNNX(build_dense, output_size=5),
        "unsized": FromNNX(build_dense),
        "dropout": FromNNX(build_dropout),
        "embed": FromNNX(build_embed, output_size=SIZE),
        "batch": FromNNX(build_batch_norm),
    },
}
both = pytest.mark.parametrize("library", LAYERS)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@both
def test_attention_and_normalization_work_in_a_model(library):
    parts = LAYERS[library]
    model = jrnn.Sequential(
        jrnn.Recurrent(jrnn.Elman(SIZE)),
        jrnn.Residual(parts["attention"]),
        parts["norm"],
        parts["dense"],
    )
    params = randomise(jax.eval_shape(lambda: model.init(KEY, F)), 1)
    xs = randomise(np.zeros((B, T, F)), 2)
    lengths = jnp.array([3, T])

    @jax.jit
    def run(params, xs, lengths=None):
        def loss(params):
            ys = model.apply(params, None, xs, lengths=lengths)[1]
            return jnp.sum(ys[0, :3] ** 2) + jnp.sum(ys[1] ** 2), ys

        return jax.value_and_grad(loss, has_aux=True)(params)

    clean, dirty = (run(params, xs.at[0, 3:].set(x), lengths) for x in (0.0, jnp.nan))
    assert_close(clean, dirty)
    assert clean[0][1].shape == (B, T, 5) and np.all(clean[0][1][0, 3:] == 0)
    alone = jax.jit(model.apply)(params, None, xs[:1, :3])[1]
    assert_close(clean[0][1][:1, :3], alone)
    for path, slope in jax.tree_util.tree_leaves_with_path(clean[1]):
        dead = "key" in jax.tree_util.keystr(path) and slope.ndim == 2
        assert dead or np.any(slope != 0), path  # softmax ignores the keys' bias


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@both
def test_padding_reaches_no_gradient_of_a_first_layer(library):
    layer = LAYERS[library]["dense"]
    params = layer.init(KEY, F)
    xs, lengths = jnp.ones((B, T, F)).at[0, 3:].set(jnp.nan), jnp.array([3, T])

    def loss(params):
        ys = layer.apply(params, (), xs, lengths=lengths)[1]
        return jnp.sum(ys[0, :3]) + jnp.sum(ys[1])

    for slope in jax.tree.leaves(jax.grad(loss)(params)):
        assert_close(slope, jnp.full_like(slope, 3.0 + T))


@both
def test_a_key_means_training(library):
    layer = LAYERS[library]["dropout"]
    xs = jnp.ones((B, T, F))
    params = layer.init(KEY, F)
    one = layer.apply(params, (), xs, key=KEY)[1]
    two = layer.apply(params, (), xs, key=jax.random.key(1))[1]
    assert set(np.unique(one)) == {0.0, 2.0} and not np.array_equal(one, two)
    assert_close(one, layer.apply(params, (), xs, key=KEY)[1], 0)
    attention = LAYERS[library]["attention"]
    params = randomise(jax.eval_shape(lambda: attention.init(KEY, SIZE)), 1)
    xs = randomise(np.zeros((B, T, SIZE)), 2)
    run = jax.jit(lambda key: attention.apply(params, (), xs, key=key)[1])
    assert not np.allclose(run(KEY), run(jax.random.key(1)))


@both
def test_ids_can_be_embedded(library):
    model = jrnn.Sequential(LAYERS[library]["embed"], jrnn.Dense(2))
    ids = jnp.array([[1, 6, 0]])
    params = model.init(KEY)
    ys = model.apply(params, None, ids, mask=jnp.array([[True, True, False]]))[1]
    table = jax.tree.leaves(params[0])[0]
    assert_close(ys[0, :2], table[jnp.array([1, 6])] @ params[1].w + params[1].b)


@both
def test_a_layer_is_a_plain_value(library):
    layer = LAYERS[library]["norm"]
    other = LAYERS[library]["attention"]
    copy = pickle.loads(pickle.dumps(layer))
    assert copy == layer != other and hash(copy) == hash(layer) != hash(other)
    again = {"linen": FromLinen(ATTENTION.clone(), call=attend_linen)}
    assert again.get(library, other) == other
    half = LAYERS[library]["norm"].init(KEY, SIZE, jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype(jnp.bfloat16)}


@both
def test_mistakes_are_named(library):
    parts = LAYERS[library]
    layer = parts["unsized"]
    with pytest.raises(ValueError, match="Declare them with `output_size=5`"):
        layer.apply(layer.init(KEY, F), (), jnp.ones((B, T, F)))
    with pytest.raises(ValueError, match="(batch_stats|BatchStat).*besides its param"):
        parts["batch"].init(KEY, F)
    with pytest.raises(ValueError, match="lengths must lie between 0 and the 7"):
        norm = parts["norm"]
        xs = jnp.ones((B, T, F))
        norm.apply(norm.init(KEY, F), (), xs, lengths=jnp.array([1, 9]))
