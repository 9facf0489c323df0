"""PyTorch itself beside jrnn: values, gradients, and weights there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop import torch as interop

torch = pytest.importorskip("torch")

# PyTorch says that its projected LSTM is not its fastest.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")

B, T, F, H = 2, 5, 3, 4
MODULES = {
    "rnn": lambda: torch.nn.RNN(F, H, nonlinearity="relu", batch_first=True),
    "gru, 2 layers, both directions": lambda: torch.nn.GRU(
        F, H, 2, bidirectional=True, batch_first=True
    ),
    "lstm, projected, 2 layers, both directions": lambda: torch.nn.LSTM(
        F, 5, 2, proj_size=H, bidirectional=True, batch_first=True
    ),
    "lstm, no bias": lambda: torch.nn.LSTM(F, H, bias=False, batch_first=True),
}
EXACT = {torch.float32: 1e-6, torch.float64: 1e-12}


def build(name, dtype):
    torch.manual_seed(0)
    module = MODULES[name]().to(dtype)
    return module, getattr(module, "nonlinearity", "tanh")


@pytest.mark.parametrize("name", MODULES)
def test_values_and_gradients_are_those_of_the_module(name):
    module, nonlinearity = build(name, torch.float64)
    x = torch.randn(B, T, F, dtype=torch.float64, requires_grad=True)
    y, _ = module(x)
    (y * y.detach().cos()).sum().backward()
    weights = {k: v.detach().numpy() for k, v in module.named_parameters()}

    @jax.jit
    def loss(weights, xs):
        layer, params = interop.from_state_dict(weights, nonlinearity)
        _, ys = layer.apply(params, None, xs)
        return jnp.sum(ys * jnp.cos(jax.lax.stop_gradient(ys))), ys

    with jax.enable_x64(True):
        arrays = {k: jnp.asarray(v) for k, v in weights.items()}
        differentiate = jax.grad(loss, argnums=(0, 1), has_aux=True)
        (by_weight, by_input), ys = differentiate(arrays, jnp.asarray(x.detach()))
    np.testing.assert_allclose(ys, y.detach(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(by_input, x.grad, rtol=1e-10, atol=1e-12)
    for weight, parameter in module.named_parameters():
        np.testing.assert_allclose(
            by_weight[weight], parameter.grad, rtol=1e-10, atol=1e-12, err_msg=weight
        )


@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize("name", MODULES)
def test_weights_go_there_and_back_unchanged(name, dtype):
    module, nonlinearity = build(name, dtype)
    with jax.enable_x64(True):
        layer, params = interop.from_state_dict(module.state_dict(), nonlinearity)
        back = interop.to_state_dict(layer, params)
    assert list(back) == list(module.state_dict())
    for weight, tensor in module.state_dict().items():
        assert back[weight].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(back[weight], tensor.numpy())


@pytest.mark.parametrize(
    ("cell", "dtype"),
    [
        (jrnn.Elman(H), torch.float32),
        (jrnn.LSTM(H), torch.float64),
        (jrnn.GRU(H), torch.float64),
        (jrnn.ProjectedLSTM(5, H), torch.float64),
    ],
    ids=str,
)
def test_a_module_with_our_weights_computes_what_the_layer_does(cell, dtype):
    kind = {jrnn.Elman: "RNN", jrnn.GRU: "GRU"}.get(type(cell), "LSTM")
    more = {"proj_size": H} if isinstance(cell, jrnn.ProjectedLSTM) else {}
    size = cell.hidden_size
    module = getattr(torch.nn, kind)(F, size, batch_first=True, dtype=dtype, **more)
    x = torch.randn(B, T, F, dtype=dtype)
    with jax.enable_x64(True):
        layer = jrnn.Recurrent(cell)
        drawn = layer.init(jax.random.key(0), F, jnp.dtype(str(dtype)[6:]))
        params = jax.tree.map(
            lambda a: a + jnp.cos(jnp.arange(a.size)).reshape(a.shape).astype(a.dtype),
            drawn,
        )
        weights = interop.to_state_dict(layer, params)
        module.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
        state, ys = layer.apply(params, None, jnp.asarray(x))
        y, states = module(x)
        states = states if kind == "LSTM" else (states,)
        tolerance = {"rtol": EXACT[dtype] * 10, "atol": EXACT[dtype]}
        np.testing.assert_allclose(ys, y.detach(), **tolerance)
        for ours, theirs in zip(
            interop.state_to_torch(layer, state), states, strict=False
        ):
            np.testing.assert_allclose(ours, theirs.detach(), **tolerance)


def test_states_go_there_and_back():
    layer = jrnn.Sequential(
        jrnn.Bidirectional(jrnn.LSTM(H)),
        jrnn.Dropout(0.1),
        jrnn.Bidirectional(jrnn.LSTM(H)),
    )
    h, c = (jnp.arange(4.0 * B * H).reshape(4, B, H) + k for k in (0, 100))
    state = interop.state_from_torch(layer, h, c)
    assert state[1] == ()
    np.testing.assert_array_equal(state[2].backward.c, c[3])  # the last, and reversed
    for ours, theirs in zip(interop.state_to_torch(layer, state), (h, c), strict=True):
        np.testing.assert_array_equal(ours, theirs)
