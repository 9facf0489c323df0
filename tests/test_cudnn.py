"""The LSTM of cuDNN: what is passed to it and what comes back, without a GPU.

Its call is replaced by the reference that JAX's own tests hold it to.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.kernels import cudnn
from tests.cases import assert_close, randomise, shapes
from tests.kernel_cases import replace_cudnn

pytestmark = pytest.mark.without("jax_enable_x64", reason="cuDNN computes in float32")
B, T, F, H = 3, 6, 5, 4
KEY = jax.random.key(0)


@pytest.fixture
def gpu(monkeypatch):
    replace_cudnn(monkeypatch)


@functools.partial(jax.jit, static_argnames=("cell", "method", "how"))
def results(cell, args, lengths, method, how):
    def loss(args):
        out = jrnn.scan(cell, *args, lengths=lengths, method=method, **dict(how))
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), out

    return jax.value_and_grad(loss, has_aux=True)(args)


@pytest.mark.without("jax_debug_nans", reason="the padding is NaN")
@pytest.mark.parametrize(
    "cell, lengths, how",
    [
        (jrnn.LSTM(H), None, {}),
        (jrnn.LSTM(H, separate_biases=True), [T, 2, 0], {"reverse": True}),
        (jrnn.LSTM(H, bias=False), [0, 1, T], {"remat": "sqrt", "reverse": True}),
        (jrnn.LSTM(H), [4, 0, 3], {"return_sequence": False}),
    ],
)
def test_values_and_gradients_are_those_of_the_plain_scan(gpu, cell, lengths, how):
    params = randomise(shapes(cell, F), 1)
    state = randomise(cell.initial_state(params, (B,)), 2)
    xs = randomise(np.zeros((B, T, F)), 3, scale=1.0)
    if lengths is not None:
        lengths = jnp.array(lengths)
        xs = jnp.where((jnp.arange(T) < lengths[:, None])[..., None], xs, jnp.nan)
    args = (params, state, xs), lengths
    actual = results(cell, *args, "cudnn", tuple(how.items()))
    assert_close(actual, results(cell, *args, "scan", tuple(how.items())))


def test_any_batch_axes_work(gpu):
    cell = jrnn.LSTM(H, activation=jnp.tanh, gate=jax.nn.sigmoid)
    params = randomise(shapes(cell, F), 1)
    for shape in [(T, F), (2, 1, T, F), (2, 0, F), (0, T, F)]:
        xs = jnp.asarray(np.random.default_rng(0).standard_normal(shape), "float32")
        actual = jrnn.scan(cell, params, None, xs, method="cudnn")
        assert_close(actual, jrnn.scan(cell, params, None, xs, method="scan"))


def test_what_cannot_be_run_is_refused(gpu):
    def refused(message, cell=None, dtypes=("f4", "f4"), **how):
        cell = cell or jrnn.LSTM(H)
        params = cell.init(jax.random.key(0), F, dtypes[0])
        xs = jnp.ones((B, T, F), dtypes[1])
        state = jax.tree.map(
            lambda h: h.astype(xs.dtype), cell.initial_state(params, (B,))
        )
        with pytest.raises(ValueError, match=message):
            jrnn.scan(cell, params, state, xs, method="cudnn", **how)

    flags = jnp.ones((B, T), bool)
    refused("computes only `jrnn.LSTM`, not GRU.* Use method='auto'", jrnn.GRU(H))
    relu = jrnn.activations.relu
    refused("only gates of sigmoid and tanh", jrnn.LSTM(H, activation=relu))
    refused("only gates of sigmoid and tanh", jrnn.LSTM(H, output_activation=relu))
    refused("only gates of sigmoid and tanh", jrnn.LSTM(H, gate=relu))
    refused("only in float32, and xs are bfloat16", dtypes=("bfloat16", "bfloat16"))
    refused("only in float32, and params are bfloat16", dtypes=("bfloat16", "f4"))
    refused("cannot restart the state", reset=flags)
    refused("give `lengths` instead of `mask`", mask=flags)
    refused("states between steps", return_states=True)


def test_a_map_runs_one_call_after_the_other(gpu):
    cell = jrnn.LSTM(H)
    members = 2
    params = randomise(jax.vmap(lambda k: cell.init(k, F))(jax.random.split(KEY, 2)), 1)
    xs = randomise(np.zeros((members, B, T, F)), 3, scale=1.0)

    def gradients(method, axes):
        def loss(params, xs):
            ys = jrnn.scan(cell, params, None, xs, method=method)[1]
            return jnp.sum(jnp.sin(ys)), ys

        run = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        mine = params if axes[0] == 0 else jax.tree.map(lambda a: a[0], params)
        return jax.jit(jax.vmap(run, axes))(mine, xs)

    for axes in [(0, 0), (None, 0)]:
        assert_close(gradients("cudnn", axes), gradients("scan", axes))


def test_without_the_plugin_the_error_says_so(monkeypatch):
    cell = jrnn.LSTM(H)
    params = cell.init(jax.random.key(0), F)
    reason = "needs the CUDA plugin of JAX, which is not installed"
    monkeypatch.setattr(cudnn.rnn, "gpu_rnn", None)
    with pytest.raises(ValueError, match=reason + ". Use method='auto'"):
        jrnn.scan(cell, params, None, jnp.ones((T, F)), method="cudnn")
