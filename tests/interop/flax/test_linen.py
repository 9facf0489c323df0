"""jrnn inside Flax linen: the same numbers, and everything linen does to a module."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.storage import named_arrays
from tests.cases import B, F, H, T, assert_close, randomise
from tests.interop.walk import Walk

flax = pytest.importorskip("flax")
nn = pytest.importorskip("flax.linen")
linen = pytest.importorskip("jrnn.interop.flax.linen")

XS = randomise(np.zeros((B, T, F)), 2)
LENGTHS = jnp.array([3, T])
KEY = jax.random.key(0)


def cell_and_params(seed=1):
    cell = jrnn.LSTM(H)
    return cell, randomise(cell.init(KEY, F), seed)


def test_a_cell_drops_into_nn_rnn():
    cell, params = cell_and_params()
    model = nn.RNN(linen.LinenCell(cell), return_carry=True)

    @jax.jit
    def theirs(params):
        named = {"params": {"cell": named_arrays.flatten(params)}}
        state, ys = model.apply(named, XS, seq_lengths=LENGTHS)
        return jnp.sum(ys[1] ** 2) + jnp.sum(state.c), (state, ys[1])

    @jax.jit
    def ours(params):
        state, ys = jrnn.scan(cell, params, None, XS, lengths=LENGTHS)
        return jnp.sum(ys[1] ** 2) + jnp.sum(state.c), (state, ys[1])

    assert_close(*[jax.value_and_grad(f, has_aux=True)(params) for f in (theirs, ours)])


def test_a_cell_of_images_drops_into_nn_rnn():
    cell = jrnn.ConvLSTM(2, kernel_size=(3,), spatial=(5,))
    model = nn.RNN(linen.LinenCell(cell))
    xs = randomise(np.zeros((B, 3, 5, F)), 2)
    params = randomise(cell.init(KEY, F), 1)
    ys = model.apply({"params": {"cell": named_arrays.flatten(params)}}, xs)
    assert_close(ys, jrnn.scan(cell, params, None, xs)[1])


def test_cells_drop_into_nn_bidirectional():
    (cell, ahead), (_, back) = cell_and_params(1), cell_and_params(2)
    cells = [nn.RNN(linen.LinenCell(cell)) for _ in range(2)]
    named = {
        "forward_rnn": {"cell": named_arrays.flatten(ahead)},
        "backward_rnn": {"cell": named_arrays.flatten(back)},
    }
    ys = nn.Bidirectional(*cells).apply({"params": named}, XS)
    params = jrnn.layers.BidirectionalParams(ahead, back)
    assert_close(ys, jrnn.Bidirectional(cell).apply(params, None, XS)[1])


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_a_layer_takes_masks_resets_and_states():
    cell, params = cell_and_params()
    module = linen.LinenLayer(jrnn.Recurrent(cell, reverse=True))
    state = jrnn.cells.LSTMState(*randomise([jnp.zeros((B, H))] * 2, 3))
    flags = jnp.arange(B * T).reshape(B, T) % 3 > 0
    how = {"mask": flags, "reset": ~flags}
    padded = jnp.where(flags[..., None], XS, jnp.nan)
    named = {"params": named_arrays.flatten(params)}
    actual = module.apply(named, padded, state=state, return_state=True, **how)
    assert_close(actual, jrnn.scan(cell, params, state, XS, reverse=True, **how))


def test_layers_can_be_scanned_over():
    layer = jrnn.Recurrent(jrnn.Elman(F))

    class Block(nn.Module):
        @nn.compact
        def __call__(self, xs, _):
            return xs + linen.LinenLayer(layer, name="rnn")(xs), None

    stack = nn.scan(
        Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
    )()
    variables = stack.init(KEY, XS, None)
    params = named_arrays.unflatten(layer.init(KEY, F), variables["params"]["rnn"])
    assert params.w_x.shape == (3, F, F)
    assert not np.allclose(params.w_x[0], params.w_x[1])
    expected = XS
    for depth in range(3):
        one = jax.tree.map(lambda leaf, depth=depth: leaf[depth], params)
        expected += layer.apply(one, None, expected)[1]
    assert_close(stack.apply(variables, XS, None)[0], expected)


def test_parameters_are_registered_leaf_by_leaf():
    layer = jrnn.Sequential(jrnn.Bidirectional(jrnn.GRU(H)), jrnn.Dense(2))
    axes = {"1.w": ("model", None)}
    module = linen.LinenLayer(layer, partitioning=axes)
    table = nn.tabulate(module, KEY, console_kwargs={"width": 200})(XS)
    for name in ("0.backward.b_h", "0.forward.w_x", "1.b"):
        assert name in table
    variables = module.init(KEY, XS)
    specs = nn.get_partition_spec(variables)["params"]
    assert tuple(specs["1.w"]) == ("model", None)
    assert tuple(specs["0.forward.w_h"]) == ()
    params = nn.meta.unbox(variables)["params"]
    assert_close(module.apply(variables, XS), module.apply({"params": params}, XS))

    frozen = {name: name.startswith("0.") for name in params}
    tx = optax.masked(optax.set_to_zero(), frozen)
    ones = jax.tree.map(jnp.ones_like, params)
    updates, _ = tx.update(ones, tx.init(params))
    assert {name for name, leaf in updates.items() if leaf.any()} == {"1.w", "1.b"}


def test_all_leaves_come_from_one_draw():
    params = linen.LinenLayer(jrnn.Recurrent(Walk(H))).init(KEY, XS)["params"]
    assert_close(params["w"].sum(0), params["start"])


def test_noise_comes_from_the_stream_dropout():
    model = linen.LinenLayer(
        jrnn.Sequential(jrnn.Recurrent(jrnn.GRU(H)), jrnn.Dropout(0.5))
    )
    variables = model.init(KEY, XS)
    run = jax.jit(lambda seed: model.apply(variables, XS, rngs={"dropout": seed}))
    quiet, one, two = model.apply(variables, XS), run(KEY), run(jax.random.key(1))
    assert np.all(quiet != 0)
    assert not np.array_equal(one, two)
    assert_close(one, jnp.where(one == 0, 0, 2 * quiet))
    assert_close(one, run(KEY), 0)


@pytest.mark.parametrize("fresh", [True, False])
def test_nn_rnn_decides_whether_noise_is_fresh_at_each_step(fresh):
    split = {"params": False, "dropout": fresh}
    model = nn.RNN(linen.LinenCell(Walk(H)), split_rngs=split)
    params = randomise(Walk(H).init(KEY, F), 1)
    named = {"params": {"cell": named_arrays.flatten(params)}}
    zeros = jnp.zeros((1, T, F))
    ys = model.apply(named, zeros, rngs={"dropout": KEY})[0, :, 0]
    steps = np.round(np.diff(ys, n=2), 5)  # constant noise grows evenly
    assert (len(set(steps.tolist())) > 1) == fresh
    assert_close(model.apply(named, zeros)[0, -1], params.start)


def test_a_learned_initial_state_is_read_from_the_module():
    model = nn.RNN(linen.LinenCell(Walk(H)))
    params = randomise(Walk(H).init(KEY, F), 1)

    def loss(params):
        return model.apply({"params": {"cell": named_arrays.flatten(params)}}, XS).sum()

    assert_close(jax.grad(loss)(params).start, jnp.full(H, B * T * 1.0))
    state = linen.LinenCell(jrnn.LSTM(H)).initialize_carry(KEY, (5, B, F))
    assert_close(state, jrnn.cells.LSTMState(*[jnp.zeros((5, B, H))] * 2))


def test_mistakes_are_named():
    cell, params = cell_and_params()
    named = {"params": named_arrays.flatten(params)}
    with pytest.raises(TypeError, match="state must be a LSTMState"):
        bare = (jnp.zeros((B, H)), jnp.zeros((B, H)))
        linen.LinenCell(cell).apply(named, bare, XS[:, 0])
    with pytest.raises(ValueError, match="a name in partitioning must be one of"):
        linen.LinenCell(cell, partitioning={"kernel": (None,)}).init(KEY, None, XS[0])
    with pytest.raises(flax.errors.ScopeParamNotFoundError, match="w_h"):
        named["params"].pop("w_h")
        linen.LinenLayer(jrnn.Recurrent(cell)).apply(named, XS)
