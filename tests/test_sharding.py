"""A batch spread over devices gives what one device gives, in every kind of mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jrnn
from jrnn.kernels import Gated, Layout
from tests.cases import F, H, T, assert_close, randomise, shapes

BATCH = 4
LENGTHS = np.array([T, 0, 3, 5])


@pytest.fixture(params=[jrnn.LSTM, jrnn.GRU])
def kind(request):
    return request.param


@pytest.fixture(params=[T, 4], ids=["whole", "split"])
def chunk(request):
    """The loop runs over the whole time, or over a chunk and a rest."""
    return request.param


@pytest.fixture
def cell(kind):
    return kind(H)


@pytest.fixture
def scan(chunk):
    return functools.partial(jrnn.scan, method=Gated(Layout(chunk)))


def arguments(cell):
    params = randomise(shapes(cell, F), 1)
    return params, randomise(np.zeros((BATCH, T, F)), 3)


def loss(scan, cell, params, xs, lengths):
    state, ys = scan(cell, params, None, xs, lengths=lengths)
    return jnp.sum(jnp.sin(ys)) + jnp.sum(state.h * 2)


def expected(cell, params, xs):
    slope = jax.value_and_grad(loss, 2)
    return slope(jrnn.scan, cell, params, xs, jnp.array(LENGTHS))


@pytest.mark.parametrize("axes", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh(cell, scan, axes):
    params, xs = arguments(cell)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(axes,))
    with jax.set_mesh(mesh):
        spread = jax.device_put(xs, NamedSharding(mesh, P("data")))
        lengths = jax.device_put(LENGTHS, NamedSharding(mesh, P("data")))
        copied = jax.device_put(params, NamedSharding(mesh, P()))
        run = jax.jit(jax.value_and_grad(lambda *a: loss(scan, cell, *a)))
        actual = run(copied, spread, lengths)
        _, ys = scan(cell, copied, None, spread)
        reset = scan(cell, copied, None, spread, reset=spread[..., 0] > 0)[1]
    assert ys.sharding.spec[0] == "data"
    assert_close(jax.device_get(actual), jax.device_get(expected(cell, params, xs)))
    alone = jrnn.scan(cell, params, None, xs, reset=xs[..., 0] > 0)[1]
    assert_close(jax.device_get(reset), jax.device_get(alone))


def test_inside_shard_map(cell, scan, chunk):
    params, xs = arguments(cell)
    mesh = jax.make_mesh((2,), ("data",))

    def mean_gradient(params, xs, lengths):
        value, slope = jax.value_and_grad(loss, 2)(scan, cell, params, xs, lengths)
        # The parameters do not vary over the mesh: their gradient is already a sum.
        return jax.lax.psum(value, "data"), slope

    rows = f"[{chunk * BATCH // 2},"  # steps and examples of a device
    run = jax.shard_map(
        mean_gradient, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P()
    )
    place = lambda tree, spec: jax.device_put(tree, NamedSharding(mesh, spec))
    with jax.set_mesh(mesh):
        args = place(params, P()), place(xs, P("data")), place(LENGTHS, P("data"))
        actual = jax.jit(run)(*args)
        text = str(jax.make_jaxpr(run)(*args))
        assert rows in text
    assert_close(jax.device_get(actual), jax.device_get(expected(cell, params, xs)))


def test_without_a_mesh_in_context_each_device_keeps_its_examples(cell, scan):
    params, xs = arguments(cell)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    args = (
        jax.device_put(params, NamedSharding(mesh, P())),
        jax.device_put(xs, NamedSharding(mesh, P("data"))),
        jax.device_put(LENGTHS, NamedSharding(mesh, P("data"))),
    )
    grad = jax.jit(jax.value_and_grad(lambda *a: loss(scan, cell, *a)))
    compiled = grad.lower(*args).compile()
    assert "all-gather" not in compiled.as_text()
    actual = jax.device_get(compiled(*args))
    assert_close(actual, jax.device_get(expected(cell, params, xs)))


@pytest.mark.parametrize(
    ("cell", "features", "key"),
    [
        (jrnn.ConvGRU(2, (2,), (3,)), (3, F), None),
        (jrnn.RecurrentDropout(jrnn.LSTM(H), 0.4), (F,), jax.random.key(5)),
        (jrnn.InputDropout(jrnn.GRU(H), 0.4, locked=True), (F,), jax.random.key(5)),
    ],
    ids=str,
)
def test_convolutions_and_masks_on_an_explicit_mesh(cell, features, key):
    params = randomise(shapes(cell, F), 1)
    xs = randomise(np.zeros((BATCH, T, *features)), 3)

    def slope(params, xs):
        run = lambda p: jnp.sum(jnp.sin(jrnn.scan(cell, p, None, xs, key=key)[1]))
        return jax.value_and_grad(run)(params)

    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        spread = jax.device_put(xs, NamedSharding(mesh, P("data")))
        copied = jax.device_put(params, NamedSharding(mesh, P()))
        actual = jax.device_get(jax.jit(slope)(copied, spread))
    assert_close(actual, jax.device_get(slope(params, xs)), 1e-4)
