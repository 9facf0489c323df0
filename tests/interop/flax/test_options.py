"""Options of Flax cells that their weights do not tell."""

import jax
import numpy as np
import pytest

import jrnn
from jrnn.interop import flax
from tests.cases import assert_close, randomise

nn = pytest.importorskip("flax.linen")
nnx = pytest.importorskip("flax.nnx")
B, T, F, H = 3, 5, 2, 4
XS = np.random.default_rng(0).standard_normal((B, T, F)).astype("float32")


def linen(**options):
    cell = nn.SimpleCell(H, residual=True, activation_fn=nn.relu, **options)
    module = nn.RNN(cell)
    variables = randomise(
        jax.eval_shape(module.init, jax.random.key(0), XS), 1, scale=0.3
    )
    return module, variables["params"], module.apply(variables, XS)


def in_nnx():
    cell = nnx.SimpleCell(F, H, residual=True, activation_fn=nn.relu, rngs=nnx.Rngs(0))
    module = nnx.RNN(cell)
    params = nnx.state(module, nnx.Param)
    return module, params, module(XS)


@pytest.mark.parametrize(
    "make, read", [(linen, flax.from_linen_params), (in_nnx, flax.from_nnx_params)]
)
def test_a_residual_cell_computes_the_same(make, read):
    module, params, ys = make()
    relu = jrnn.activations.relu
    for options in ({"residual": True, "activation": relu}, {"module": module}):
        layer, own = read(params, **options)
        assert layer == jrnn.Recurrent(jrnn.Elman(H, activation=relu))
        assert_close(layer.apply(own, None, XS)[1], ys, 1e-5)
    layer, own = read(params, activation=relu)  # as if it were not residual
    assert np.abs(layer.apply(own, None, XS)[1] - ys).max() > 0.1


def test_a_module_tells_activations():
    cell = nn.LSTMCell(H, gate_fn=nn.relu, activation_fn=nn.soft_sign)
    module = nn.Bidirectional(nn.RNN(cell), nn.RNN(cell.clone()))
    variables = module.init(jax.random.key(0), XS)
    layer, params = flax.from_linen_params(variables, module=module)
    a = jrnn.activations
    assert layer.forward == jrnn.LSTM(H, gate=a.relu, activation=a.softsign)
    assert_close(layer.apply(params, None, XS)[1], module.apply(variables, XS), 1e-5)


def test_modules_that_do_not_tell_are_refused():
    _, params, _ = linen()
    with pytest.raises(ValueError, match="must contain recurrent cells, got Dense"):
        flax.from_linen_params(params, module=nn.Dense(3))
    mixed = nn.Sequential(
        [nn.RNN(nn.SimpleCell(H)), nn.RNN(nn.SimpleCell(H, residual=True))]
    )
    with pytest.raises(ValueError, match="must have one residual"):
        flax.from_linen_params(params, module=mixed)
