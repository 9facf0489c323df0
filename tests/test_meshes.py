"""On a mesh with explicit axes, a split batch gives what one device gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import jrnn
from jrnn import diagnostics, training
from jrnn.forms import Plain
from tests.cases import assert_close, randomise, shapes
from tests.test_encoder_decoder import MODELS

B, T, F, H, K = 6, 5, 3, 4, 2
GRU = jrnn.Sequential(jrnn.Recurrent(jrnn.GRU(H)), jrnn.Dense(K))
INDRNN = jrnn.Sequential(jrnn.Recurrent(jrnn.IndRNN(H)), jrnn.Dense(K))
XS = randomise(np.zeros((B, T, F)), 2)
TARGETS = randomise(np.zeros((B, T, K)), 3)
LENGTHS = np.array([5, 3, 1, 0, 4, 5])
METHODS = [
    (GRU, training.TBPTT(2, 3)),
    (GRU, training.SnAp1(every=2)),
    (GRU, training.EProp()),
    (INDRNN, training.RTRL(every=2)),
]


class Counting(jrnn.Cell):
    """A sum that also counts its steps, for all rows together."""

    output_size, feature_axes = H, 1
    form = Plain(lambda params, state, u: (params[0] * state[0] + u, state[1] + 1))

    def init(self, key, input_size, dtype=float):
        return (jnp.ones(H, dtype),)

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, H)), jnp.zeros((), int)

    def prepare(self, params, *, key=None, batch_shape=()):
        return params

    def project(self, params, x, *, key=None):
        return jnp.sum(x, axis=-1, keepdims=True) * params[0]

    def read(self, params, state, u):
        return state[0]


def assert_equal_on_a_mesh(function, params, *data):
    """Compares a function on two devices with one device."""
    expected = jax.device_get(jax.jit(function)(params, *data))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params = jax.device_put(params, P())
        data = jax.device_put(data, P("data"))
        actual = jax.device_get(jax.jit(function)(params, *data))
    assert_close(actual, expected, 1e-5)


@pytest.mark.parametrize(("model", "method"), METHODS, ids=str)
def test_gradients_of_a_method(model, method):
    gradient = training.value_and_grad(model, training.squared_error, method)

    def run(params, xs, targets, lengths):
        return gradient(params, None, xs, targets, lengths=lengths)

    params = randomise(shapes(model, F), 1)
    assert_equal_on_a_mesh(run, params, XS, TARGETS, LENGTHS)


def test_updates_along_a_sequence():
    tx = optax.sgd(0.1)
    train = training.train_along(GRU, training.squared_error, tx, training.TBPTT(2, 3))

    def run(params, xs, targets):
        return train(params, tx.init(params), None, xs, targets)

    assert_equal_on_a_mesh(run, randomise(shapes(GRU, F), 1), XS, TARGETS)


def test_chunks_from_a_state_of_zeros():
    def loss(params, state, chunk, key):
        state, ys = GRU.apply(params, state, chunk.data[0], mask=chunk.mask)
        return training.squared_error(ys, chunk.data[1], chunk.mask), state

    def run(params, xs, targets):
        chunks = training.split_into_chunks((xs, targets), 2)
        state = GRU.initial_state(params, (B,))
        return training.truncated_value_and_grad(loss)(params, state, chunks)

    assert_equal_on_a_mesh(run, randomise(shapes(GRU, F), 1), XS, TARGETS)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("forcing", [1.0, 0.5])
def test_an_encoder_decoder(model, forcing):
    rng = np.random.default_rng(0)
    source, target = rng.integers(1, 6, (B, 4)), rng.integers(1, 6, (B, T))
    key = None if forcing == 1 else jax.random.key(1)
    run = functools.partial(model.apply, teacher_forcing=forcing, key=key)
    assert_equal_on_a_mesh(run, randomise(shapes(model), 1), source, target)


def test_a_cell_that_selects_by_its_state():
    cell = jrnn.SLSTM(H, heads=2)
    run = lambda params, xs: jrnn.scan(cell, params, None, xs)
    assert_equal_on_a_mesh(run, randomise(shapes(cell, F), 1), XS)


def test_a_rematerialized_scan_with_idle_steps():
    cell = jrnn.GRU(H)

    def loss(params, xs, lengths):
        _, ys = jrnn.scan(cell, params, None, xs, lengths=lengths, remat=(2, 3))
        return jnp.sum(ys**2)

    params = randomise(shapes(cell, F), 1)
    assert_equal_on_a_mesh(jax.value_and_grad(loss), params, XS, LENGTHS)


def test_a_state_with_a_counter_of_all_rows():
    cell = Counting()
    run = lambda params, xs: jrnn.scan(cell, params, None, xs)
    assert_equal_on_a_mesh(run, (jnp.full(H, 0.3),), XS)


def test_chunks_that_cannot_be_typed_are_as_without_a_mesh():
    def loss(params, state, chunk, key):
        return jnp.sum(chunk.data), jnp.zeros((B, 3)) + params

    run = training.truncated_value_and_grad(loss)
    chunks = training.split_into_chunks(XS, 2)
    none = jax.tree.map(lambda a: a[:0], chunks)
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,))
        with jax.set_mesh(mesh):
            (value, _), _ = run(jnp.ones(()), jnp.zeros((B, 3)), none)
            assert value == 0
            with pytest.raises(TypeError, match="carry"):
                run(jnp.ones(()), jnp.zeros((1, 3)), chunks)
            with pytest.raises(TypeError, match="carry"):
                run(jnp.ones(()), {"h": jnp.zeros((B, 3))}, chunks)


def test_what_is_not_finite():
    cell = jrnn.GRU(H)
    xs = XS.at[2, 3].set(jnp.nan)
    run = lambda params, xs: diagnostics.first_nonfinite(cell, params, None, xs)
    assert_equal_on_a_mesh(run, randomise(shapes(cell, F), 1), xs)


def test_a_kernel_that_is_not_split_runs_inside_shard_map():
    cell = jrnn.GRU(H)
    params = randomise(shapes(cell, F), 1)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    run = lambda params, xs: jrnn.scan(cell, params, None, xs, method="pallas")[1]
    split = jax.shard_map(
        run, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data")
    )
    expected = jrnn.scan(cell, params, None, XS)[1]
    with jax.set_mesh(mesh):
        xs = jax.device_put(XS, P("data"))
        with pytest.raises(ValueError, match="pallas.*call it inside `jax.shard_map`"):
            run(params, xs)
        assert_close(jax.device_get(jax.jit(split)(params, xs)), expected)
