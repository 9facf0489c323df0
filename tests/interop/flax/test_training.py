"""One character model written in linen, in nnx and in jrnn learns the same."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from tests.cases import randomise

nn = pytest.importorskip("flax.linen")
nnx = pytest.importorskip("flax.nnx")
LinenLayer = pytest.importorskip("jrnn.interop.flax.linen").LinenLayer
NNXLayer = pytest.importorskip("jrnn.interop.flax.nnx").NNXLayer

TEXT = "the cell takes the state before and makes the state after. "
SYMBOLS = sorted(set(TEXT))
IDS = np.array([SYMBOLS.index(c) for c in 4 * TEXT], np.int32)
BATCHES = IDS[:224].reshape(7, 32)
V, EMBED, HIDDEN, STEPS = len(SYMBOLS), 6, 10, 20
RECURRENT = jrnn.Recurrent(jrnn.LSTM(HIDDEN))
MODEL = jrnn.Sequential(jrnn.Embed(V, EMBED), RECURRENT, jrnn.Dense(V))
TX = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.02))


def cross_entropy(logits):
    """Mean loss of predicting each next character."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, BATCHES[:, 1:])
    return jnp.mean(losses)


def descend(loss, params):
    """Returns the losses of twenty optax steps."""

    def update(carry, _):
        params, state = carry
        value, slopes = jax.value_and_grad(loss)(params)
        updates, state = TX.update(slopes, state)
        return (optax.apply_updates(params, updates), state), value

    run = jax.jit(lambda p: jax.lax.scan(update, (p, TX.init(p)), length=STEPS))
    return run(params)[1]


@pytest.mark.without("jax_enable_x64", reason="Flax has parameters of float32")
def test_the_same_losses_in_linen_nnx_and_jrnn():
    params = randomise(jax.eval_shape(lambda: MODEL.init(jax.random.key(0))), 1)
    embed, lstm, dense = params
    ids = BATCHES[:, :-1]
    expected = descend(lambda p: cross_entropy(MODEL.apply(p, None, ids)[1]), params)
    assert expected[-1] < 0.75 * expected[0]

    parts = [nn.Embed(V, EMBED), LinenLayer(RECURRENT), nn.Dense(V)]
    linen = nn.Sequential(parts)
    named = {
        "layers_0": {"embedding": embed.table},
        "layers_1": {"w_x": lstm.w_x, "w_h": lstm.w_h, "b_x": lstm.b_x},
        "layers_2": {"kernel": dense.w, "bias": dense.b},
    }
    loss = lambda p: cross_entropy(linen.apply({"params": p}, ids))
    np.testing.assert_allclose(descend(loss, named), expected, atol=1e-5)

    rngs = nnx.Rngs(0)
    twin = nnx.Sequential(
        nnx.Embed(V, EMBED, rngs=rngs),
        NNXLayer(RECURRENT, EMBED, rngs=rngs),
        nnx.Linear(HIDDEN, V, rngs=rngs),
    )
    twin.layers[0].embedding[...] = embed.table
    twin.layers[1].params = nnx.data(jax.tree.map(nnx.Param, lstm))
    twin.layers[2].kernel[...], twin.layers[2].bias[...] = dense.w, dense.b
    optimizer = nnx.Optimizer(twin, TX, wrt=nnx.Param)

    @nnx.jit
    def train(twin, optimizer):
        loss, slopes = nnx.value_and_grad(lambda m: cross_entropy(m(ids)))(twin)
        optimizer.update(twin, slopes)
        return loss

    losses = [train(twin, optimizer) for _ in range(STEPS)]
    np.testing.assert_allclose(losses, expected, atol=1e-5)
