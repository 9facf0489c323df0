"""jrnn inside Haiku and Equinox: the same numbers, keys and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.interop import leaves
from tests.cases import B, F, H, T, assert_close, randomise
from tests.interop.walk import Walk

KEY = jax.random.key(0)
XS = randomise(jnp.zeros((B, T, F)), 2)
FLAGS = jnp.arange(B * T).reshape(B, T) % 3 > 0
NOISY = jrnn.Sequential(jrnn.Recurrent(jrnn.GRU(H)), jrnn.Dropout(0.5))


def total(tree):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


def test_a_cell_drops_into_haiku():
    hk = pytest.importorskip("haiku")
    haiku_cores = pytest.importorskip("jrnn.interop.haiku_cores")

    def run(xs):
        core = hk.DeepRNN([haiku_cores.HaikuCore(jrnn.LSTM(H), F), jnp.tanh])
        ys, state = hk.dynamic_unroll(core, xs, core.initial_state(B), time_major=False)
        return state[0], ys

    model = hk.without_apply_rng(hk.transform(run))
    named = model.init(KEY, XS)
    assert sorted(named["haiku_core"]) == ["b_x", "w_h", "w_x"]
    params = leaves.unpack(jrnn.LSTM(H).init(KEY, F), named["haiku_core"])
    params = randomise(params, 1)

    def theirs(params):
        return total(model.apply({"haiku_core": leaves.pack(params)}, XS))

    def ours(params):
        state, ys = jrnn.scan(jrnn.LSTM(H), params, None, XS)
        return total((state, jnp.tanh(ys)))

    both = [jax.jit(jax.value_and_grad(f))(params) for f in (theirs, ours)]
    assert_close(*both)


def test_haiku_gives_one_draw_a_learned_state_and_keys():
    hk = pytest.importorskip("haiku")
    haiku_cores = pytest.importorskip("jrnn.interop.haiku_cores")

    def start(xs):
        core = haiku_cores.HaikuCore(Walk(H), F)
        return core.initial_state(None).h, hk.static_unroll(
            core, xs, core.initial_state((2, B))
        )

    model = hk.transform(start)
    xs = jnp.zeros((3, 2, B, F))
    named = model.init(KEY, xs)
    assert_close(named["haiku_core"]["w"].sum(0), named["haiku_core"]["start"])
    alone, (ys, _) = model.apply(named, None, xs)
    assert_close(alone, named["haiku_core"]["start"])
    assert_close(ys, jnp.broadcast_to(alone, ys.shape))

    layer = hk.transform(lambda xs: haiku_cores.HaikuLayer(NOISY)(xs))
    named = layer.init(KEY, XS)
    quiet, noisy = (layer.apply(named, key, XS) for key in (None, KEY))
    assert np.all(quiet != 0)
    assert_close(noisy, jnp.where(noisy == 0, 0, 2 * quiet))


def test_a_haiku_layer_takes_masks_resets_and_states():
    hk = pytest.importorskip("haiku")
    haiku_cores = pytest.importorskip("jrnn.interop.haiku_cores")
    layer = jrnn.Recurrent(jrnn.GRU(H), reverse=True)
    params = randomise(layer.init(KEY, F), 1)
    how = {"state": jrnn.GRUState(jnp.ones((B, H))), "mask": FLAGS, "reset": ~FLAGS}
    model = hk.transform(
        lambda xs: haiku_cores.HaikuLayer(layer)(xs, return_state=True, **how)
    )
    actual = model.apply({"haiku_layer": leaves.pack(params)}, None, XS)
    assert_close(actual, layer.apply(params, xs=XS, **how))


def test_equinox_modules_train_and_batch(tmp_path):
    eqx = pytest.importorskip("equinox")
    cells = pytest.importorskip("jrnn.interop.equinox_cells")
    layer = jrnn.Recurrent(jrnn.Elman(H))
    module = cells.EquinoxLayer(layer, F, key=KEY)
    how = {"mask": FLAGS, "reset": ~FLAGS}

    @eqx.filter_jit
    def step(module):
        def loss(module):
            return total(
                jax.vmap(lambda xs, m, r: module(xs, mask=m, reset=r))(
                    XS, how["mask"], how["reset"]
                )
            )

        return eqx.filter_value_and_grad(loss)(module)

    loss, slopes = step(module)
    expected = jax.jit(
        jax.value_and_grad(lambda p: total(layer.apply(p, None, XS, **how)[1]))
    )(module.params)
    assert_close((loss, slopes.params), expected)
    tx = optax.sgd(0.01)
    updates, _ = tx.update(slopes, tx.init(eqx.filter(module, eqx.is_array)))
    better = eqx.apply_updates(module, updates)
    assert step(better)[0] < loss
    eqx.tree_serialise_leaves(tmp_path / "model.eqx", better)
    read = eqx.tree_deserialise_leaves(tmp_path / "model.eqx", module)
    assert_close(read.params, better.params, 0)


def test_equinox_cells_step_and_draw_noise_with_a_key():
    cells = pytest.importorskip("jrnn.interop.equinox_cells")
    cell = cells.EquinoxCell(jrnn.LSTM(H), F, key=KEY)
    state = cell.initial_state((B,))
    for t in range(2):
        state, y = cell(XS[:, t], state)
    expected, ys = jrnn.scan(jrnn.LSTM(H), cell.params, None, XS[:, :2])
    assert_close((state, y), (expected, ys[:, -1]))
    module = cells.EquinoxLayer(NOISY, F, key=KEY)
    quiet, noisy = module(XS), module(XS, key=KEY)
    assert np.all(quiet != 0)
    assert_close(noisy, jnp.where(noisy == 0, 0, 2 * quiet))
    final, _ = module(XS[:, :2], state=module.initial_state((B,)), return_state=True)
    assert jax.tree.structure(final) == jax.tree.structure(module.initial_state())
