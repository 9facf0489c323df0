"""A batch spread over devices gives, inside Flax, what one device gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jrnn
from tests.cases import F, H, T, assert_close, randomise

nn = pytest.importorskip("flax.linen")
nnx = pytest.importorskip("flax.nnx")
LinenLayer = pytest.importorskip("jrnn.interop.flax.linen").LinenLayer
NNXLayer = pytest.importorskip("jrnn.interop.flax.nnx").NNXLayer

BATCH = 4
LAYER = jrnn.Recurrent(jrnn.Elman(H))
XS = randomise(np.zeros((BATCH, T, F)), 3)
LENGTHS = np.array([T, 0, 3, 5])


def linen_model():
    """Returns parameters, and a function of (params, xs, lengths)."""
    module = LinenLayer(LAYER)
    variables = module.init(jax.random.key(0), XS)
    return variables, lambda params, xs, n: module.apply(params, xs, lengths=n)


def nnx_model():
    """Returns parameters, and a function of (params, xs, lengths)."""
    graph, params = nnx.split(NNXLayer(LAYER, F, rngs=nnx.Rngs(params=0)))
    return params, lambda params, xs, n: nnx.merge(graph, params)(xs, lengths=n)


def loss_of(run):
    def loss(*args):
        ys = run(*args)
        return jnp.sum(jnp.sin(ys)), ys

    return jax.value_and_grad(loss, has_aux=True)


def arrays(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("model", [linen_model, nnx_model])
def test_every_kind_of_mesh(model):
    params, run = model()
    loss = loss_of(run)
    expected = arrays(jax.jit(loss)(params, XS, LENGTHS))
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,))
        with jax.set_mesh(mesh):
            spread = jax.device_put((XS, LENGTHS), NamedSharding(mesh, P("data")))
            copied = jax.device_put(params, NamedSharding(mesh, P()))
            actual = jax.jit(loss)(copied, *spread)
        assert actual[0][1].sharding.spec[0] == "data"
        assert_close(arrays(actual), expected)

    def per_device(params, xs, lengths):
        (value, ys), slopes = loss(params, xs, lengths)
        return jax.lax.psum(value, "data"), ys, slopes  # slopes are summed already

    with jax.set_mesh(mesh):
        mapped = jax.shard_map(
            per_device,
            in_specs=(P(), P("data"), P("data")),
            out_specs=(P(), P("data"), P()),
        )
        assert_close(arrays(jax.jit(mapped)(copied, *spread)), expected)
