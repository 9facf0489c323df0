"""Cells and layers of jrnn in Haiku: the same values, keys and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop import haiku
from jrnn.storage import named_arrays
from tests.cases import B, F, H, T, assert_close, randomise
from tests.interop.walk import Walk

KEY = jax.random.key(0)
XS = randomise(np.zeros((B, T, F)), 2)
FLAGS = jnp.arange(B * T).reshape(B, T) % 3 > 0
NOISY = jrnn.Sequential(jrnn.Recurrent(jrnn.GRU(H)), jrnn.Dropout(0.5))


def total(tree):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


def test_a_cell_drops_into_haiku():
    hk = pytest.importorskip("haiku")

    def run(xs):
        core = hk.DeepRNN([haiku.HaikuCell(jrnn.LSTM(H), F), jnp.tanh])
        ys, state = hk.dynamic_unroll(core, xs, core.initial_state(B), time_major=False)
        return state[0], ys

    model = hk.without_apply_rng(hk.transform(run))
    named = model.init(KEY, XS)
    assert sorted(named["haiku_cell"]) == ["b_x", "w_h", "w_x"]
    params = named_arrays.unflatten(jrnn.LSTM(H).init(KEY, F), named["haiku_cell"])
    params = randomise(params, 1)

    def theirs(params):
        return total(model.apply({"haiku_cell": named_arrays.flatten(params)}, XS))

    def ours(params):
        state, ys = jrnn.scan(jrnn.LSTM(H), params, None, XS)
        return total((state, jnp.tanh(ys)))

    both = [jax.jit(jax.value_and_grad(f))(params) for f in (theirs, ours)]
    assert_close(*both)


def test_haiku_gives_one_draw_a_learned_state_and_keys():
    hk = pytest.importorskip("haiku")

    def start(xs):
        core = haiku.HaikuCell(Walk(H), F)
        return core.initial_state(None).h, hk.static_unroll(
            core, xs, core.initial_state((2, B))
        )

    model = hk.transform(start)
    xs = jnp.zeros((3, 2, B, F))
    named = model.init(KEY, xs)
    assert_close(named["haiku_cell"]["w"].sum(0), named["haiku_cell"]["start"])
    alone, (ys, _) = model.apply(named, None, xs)
    assert_close(alone, named["haiku_cell"]["start"])
    assert_close(ys, jnp.broadcast_to(alone, ys.shape))

    layer = hk.transform(lambda xs: haiku.HaikuLayer(NOISY)(xs))
    named = layer.init(KEY, XS)
    quiet, noisy = (layer.apply(named, key, XS) for key in (None, KEY))
    assert np.all(quiet != 0)
    assert_close(noisy, jnp.where(noisy == 0, 0, 2 * quiet))


def test_a_haiku_layer_takes_masks_resets_and_states():
    hk = pytest.importorskip("haiku")
    layer = jrnn.Recurrent(jrnn.GRU(H), reverse=True)
    params = randomise(layer.init(KEY, F), 1)
    how = {
        "state": jrnn.cells.GRUState(jnp.ones((B, H))),
        "mask": FLAGS,
        "reset": ~FLAGS,
    }
    model = hk.transform(
        lambda xs: haiku.HaikuLayer(layer)(xs, return_state=True, **how)
    )
    actual = model.apply({"haiku_layer": named_arrays.flatten(params)}, None, XS)
    assert_close(actual, layer.apply(params, xs=XS, **how))
