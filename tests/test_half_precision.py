"""Gradients of parameters in bfloat16 are summed in float32, and rounded once.

A sum of bfloat16 over time and batch, or step by step, loses small addends: the
gradient of a bias was off by 20 % here, and a sum of ones stops at 256.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import diagnostics
from jrnn.kernels import Gated, Layout
from tests.cases import CASES, F, randomise, shapes

ROWS, TIME = 11, 67
H = 5
SHORT = Gated(Layout(chunk=8))  # sums over chunks as well


def slope(cell, params, xs, **how):
    """The gradient of a weighted mean, all of whose weights are positive."""

    def loss(params):
        ys = jrnn.scan(cell, params, None, xs, **how)[1].astype(float)
        return jnp.mean(ys * (1.5 + jnp.sin(jnp.arange(ys.shape[-1]))))

    return jax.jit(jax.grad(loss))(params)


def assert_near(narrow, exact):
    """Compares sums that jrnn writes with those in float64.

    A matmul accumulates as XLA does: on a CPU it is off by .4 % in jaxlib 0.10, and by
    up to 10 % in 0.12.
    """
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(narrow), jax.tree.leaves(exact), strict=True
    ):
        assert a.dtype == jnp.bfloat16
        error = np.linalg.norm(np.asarray(a, float) - b) / np.linalg.norm(b)
        assert error < (0.012 if a.ndim == 1 else 0.15), (
            f"{jax.tree_util.keystr(path)} is off by {error:.2%}"
        )


@pytest.mark.parametrize(
    "cell, hows",
    [
        (
            jrnn.LSTM(H, separate_biases=True),
            [{"method": "scan"}, {"method": SHORT}, {"method": "gated"}],
        ),
        (jrnn.GRU(H), [{"method": "scan"}, {"method": SHORT, "remat": "sqrt"}]),
        (jrnn.PeepholeLSTM(H), [{"method": SHORT}]),
        (jrnn.Elman(H), [{"method": "scan", "remat": (9, 8)}]),
        (jrnn.IndRNN(H, activation=jnp.tanh), [{}]),
        (jrnn.LayerNormGRU(H), [{"method": SHORT}]),
        (jrnn.SRU(H), [{"method": "scan"}, {"method": "linear"}]),
    ],
    ids=str,
)
def test_a_gradient_in_bfloat16_is_near_that_in_float64(cell, hows):
    params = randomise(shapes(cell, F), 1, jnp.bfloat16)
    xs = randomise(np.zeros((ROWS, TIME, F)), 3, jnp.bfloat16)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: a.astype(float), (params, xs))
        exact = jax.tree.map(np.asarray, slope(cell, *wide, method="scan"))
        for how in hows:
            assert_near(slope(cell, params, xs, **how), exact)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_cell_sums_half_precision_over_time_and_batch(case):
    """Looks at the traced program: nothing reduces bfloat16 to the shape of a
    parameter, and no loop carries a sum of bfloat16 that has no batch axis.
    """
    if isinstance(case.cell, jrnn.MixedPrecision):
        pytest.skip("its parameters are wide")
    size = case.features if len(case.features) > 1 else case.features[0]
    params = randomise(shapes(case.cell, size), 1, jnp.bfloat16)
    xs = randomise(np.zeros((ROWS, TIME, *case.features)), 3, jnp.bfloat16)

    def loss(params):
        state, ys = jrnn.scan(case.cell, params, None, xs)
        return sum(jnp.sum(leaf.astype(float)) for leaf in jax.tree.leaves((state, ys)))

    traced = jax.make_jaxpr(jax.grad(loss))(params)
    assert not list(sums(traced.jaxpr))


def body(equation):
    """The program of a loop's step; JAX 0.12 does not close it."""
    found = equation.params["jaxpr"]
    return getattr(found, "jaxpr", found)


def carried(equation):
    """Yields what a loop carries; what it stacks comes after that, and has less axes
    inside than outside.
    """
    for inner, outer in zip(body(equation).outvars, equation.outvars, strict=True):
        if inner.aval.ndim == outer.aval.ndim:
            yield inner.aval


def reduced(equation):
    """Returns the sizes of the axes that are summed over."""
    shape = equation.invars[0].aval.shape
    return {shape[axis] for axis in equation.params["axes"]}


def sums(jaxpr):
    """Yields reductions of bfloat16 over time or batch, also those that loops carry."""
    for equation in jaxpr.eqns:
        name, narrow = equation.primitive.name, jnp.bfloat16
        if name == "reduce_sum" and reduced(equation) & {ROWS, TIME}:
            yield from [out for out in equation.outvars if out.aval.dtype == narrow]
        if name == "scan":
            leaves = [a for a in carried(equation) if a.dtype == narrow]
            yield from [leaf for leaf in leaves if ROWS not in leaf.shape]
        for inner in jax.tree.leaves(list(equation.params.values())):
            if hasattr(inner, "eqns"):  # also `jaxpr.eqns` of a closed one
                yield from sums(inner)


@pytest.mark.parametrize("compiled", [False, True])
def test_an_embedding_counts_its_ids(compiled):
    """Row 1 occurs 1000 times, and its gradient is that."""
    layer = jrnn.Embed(3, 2)
    params = layer.init(jax.random.key(0), dtype=jnp.bfloat16)
    ids = jnp.ones((4, 250), int)

    def loss(params):
        return jnp.sum(layer.apply(params, (), ids)[1].astype(float))

    slope = jax.jit(jax.grad(loss)) if compiled else jax.grad(loss)
    assert slope(params).table.tolist() == [[0, 0], [1000, 1000], [0, 0]]


def test_a_dense_layer_and_a_learned_state_sum_over_all_rows():
    dense, learned = jrnn.Dense(2), jrnn.LearnedState(jrnn.Elman(2))
    weights = randomise(shapes(dense, F), 1, jnp.bfloat16)
    params = randomise(shapes(learned, F), 1, jnp.bfloat16)
    xs = jnp.ones((20, 30, F), jnp.bfloat16)

    def loss(weights, params):
        out = dense.apply(weights, (), xs)[1], learned.initial_state(params, (20, 30))
        return sum(jnp.sum(leaf.astype(float)) for leaf in jax.tree.leaves(out))

    slopes = jax.jit(jax.grad(loss, (0, 1)))(weights, params)
    assert slopes[0].b.tolist() == slopes[1].state.h.tolist() == [600, 600]


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
@pytest.mark.parametrize("method", ["scan", "gated"])
def test_rows_may_be_split_over_devices(kind, method):
    """Sums over rows of several devices, also where types name the devices."""
    cell, rows = jrnn.GRU(H), 2 * ROWS
    params = randomise(shapes(cell, F), 1, jnp.bfloat16)
    xs = randomise(np.zeros((rows, TIME, F)), 3, jnp.bfloat16)
    axes = {"axis_types": (getattr(jax.sharding.AxisType, kind),)}
    mesh = jax.make_mesh((2,), ("rows",), **axes)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: a.astype(float), (params, xs))
        exact = jax.tree.map(np.asarray, slope(cell, *wide, method="scan"))
        with jax.set_mesh(mesh):
            split = jax.device_put(xs, jax.NamedSharding(mesh, jax.P("rows")))
            assert_near(slope(cell, params, split, method=method), exact)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bf16", "f16"])
@pytest.mark.parametrize("cell", [jrnn.GRU(H), jrnn.ParaGRU(H)], ids=str)
def test_products_of_jacobians_are_in_float32(cell, dtype):
    """LAPACK has no half precision, and 16 bits are few for a product of many."""
    params = randomise(shapes(cell, F), 1, dtype)
    xs = randomise(np.zeros((2, 9, F)), 3, dtype)
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), (params, xs))

    def report(params, xs):
        return (
            diagnostics.lyapunov_spectrum(cell, params, None, xs).exponents,
            diagnostics.jacobian_norms(cell, params, None, xs)[:, 1:, 0],
            diagnostics.jacobian_product(cell, params, None, xs),
        )

    for narrow, exact in zip(report(params, xs), report(*wide), strict=True):
        assert narrow.dtype == jnp.float32
        np.testing.assert_allclose(narrow, exact, rtol=0.1, atol=0.02)
    assert diagnostics.parallelizable(cell, params, xs).exponent.dtype == jnp.float32
