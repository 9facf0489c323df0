"""Cells and layers of jrnn in Equinox: the same values, keys and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.interop import equinox
from tests.cases import B, F, H, T, assert_close, randomise

eqx = pytest.importorskip("equinox")

KEY = jax.random.key(0)
XS = randomise(np.zeros((B, T, F)), 2)
FLAGS = jnp.arange(B * T).reshape(B, T) % 3 > 0
NOISY = jrnn.Sequential(jrnn.Recurrent(jrnn.GRU(H)), jrnn.Dropout(0.5))


def total(tree):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


def test_equinox_modules_train_and_batch(tmp_path):
    layer = jrnn.Recurrent(jrnn.Elman(H))
    module = equinox.EquinoxLayer(layer, F, key=KEY)
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
    cell = equinox.EquinoxCell(jrnn.LSTM(H), F, key=KEY)
    state = cell.initial_state((B,))
    for t in range(2):
        state, y = cell(XS[:, t], state)
    expected, ys = jrnn.scan(jrnn.LSTM(H), cell.params, None, XS[:, :2])
    assert_close((state, y), (expected, ys[:, -1]))
    module = equinox.EquinoxLayer(NOISY, F, key=KEY)
    quiet, noisy = module(XS), module(XS, key=KEY)
    assert np.all(quiet != 0)
    assert_close(noisy, jnp.where(noisy == 0, 0, 2 * quiet))
    final, _ = module(XS[:, :2], state=module.initial_state((B,)), return_state=True)
    assert jax.tree.structure(final) == jax.tree.structure(module.initial_state())
