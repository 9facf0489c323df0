"""ONNX: models written, run by onnxruntime and by the reference, and read back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import activations as a
from tests.cases import assert_close, randomise

onnx = pytest.importorskip("onnx")
from jrnn.interop import onnx as interop  # noqa: E402
from jrnn.storage import named_arrays  # noqa: E402

T, B, F, H = 5, 3, 2, 4
LENGTHS = np.array([5, 2, 4], np.int32)
LAYERS = [
    jrnn.Recurrent(jrnn.Elman(H, activation=a.relu, separate_biases=True)),
    jrnn.Recurrent(
        jrnn.Elman(H, activation=a.Clipped(a.LeakyRelu(0.2), 0.5), bias=False)
    ),
    jrnn.Recurrent(jrnn.LSTM(H, separate_biases=True), reverse=True),
    jrnn.Recurrent(
        jrnn.LSTM(
            H,
            gate=a.HardSigmoid(0.25),
            activation=a.softsign,
            output_activation=a.Elu(0.7),
            bias=False,
        ),
        return_sequence=False,
    ),
    jrnn.Recurrent(
        jrnn.LSTM(
            H,
            gate=a.Clipped(a.sigmoid, 0.4),
            activation=a.Clipped(a.ScaledTanh(1.5, 0.5), 0.4),
            output_activation=a.Affine(0.7, 0.1),
            separate_biases=True,
        )
    ),
    jrnn.Recurrent(jrnn.PeepholeLSTM(H, coupled=True, separate_biases=True)),
    jrnn.Bidirectional(
        jrnn.PeepholeLSTM(H), jrnn.LSTM(H, separate_biases=True), merge="mul"
    ),
    jrnn.Recurrent(
        jrnn.PeepholeLSTM(H, coupled=True, peepholes=False, bias=False), reverse=True
    ),
    jrnn.Recurrent(
        jrnn.GRU(H, gate=a.Clipped(a.sigmoid, 0.4), activation=a.Clipped(a.tanh, 0.4))
    ),
    jrnn.Bidirectional(
        jrnn.GRU(H, activation=a.softplus, separate_biases=True),
        jrnn.GRU(H, separate_biases=True),
        merge="sum",
    ),
    jrnn.Bidirectional(
        jrnn.Recurrent(jrnn.ResetBeforeGRU(H), return_sequence=False), merge="concat"
    ),
    jrnn.Bidirectional(
        jrnn.Recurrent(jrnn.GRU(H, separate_biases=True), return_sequence=False),
        jrnn.Recurrent(
            jrnn.GRU(H, activation=a.relu, separate_biases=True),
            reverse=True,
            return_sequence=False,
        ),
        merge="sum",
    ),
    jrnn.Sequential(
        jrnn.Recurrent(jrnn.ResetBeforeGRU(H, bias=False)),
        jrnn.Dropout(0.5),
        jrnn.LayerNorm(),
        jrnn.Sequential(
            jrnn.Bidirectional(jrnn.LSTM(3, separate_biases=True), merge="mean"),
            jrnn.Dense(2),
        ),
    ),
    jrnn.Sequential(
        jrnn.Embed(7, 5),
        jrnn.Recurrent(jrnn.GRU(H, bias=False), return_sequence=False),
        jrnn.Dense(2, bias=False),
    ),
]
# Layers that come back unchanged. Others come back as an equivalent layer: a single
# bias as two, an LSTM next to peepholes with peepholes of zero.
EXACT = [e for e in LAYERS if "Seq" not in repr(e) and "bias" in repr(e)]
EXACT = [e for e in EXACT if "backward=LSTM" not in repr(e)]
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=repr)


@functools.cache
def setting(layer):
    """Returns parameters, a state and inputs [B, T, F] with no zero entry."""
    draw = functools.partial(layer.init, jax.random.key(0), F, jnp.float32)
    params = randomise(jax.eval_shape(draw), 1, scale=0.8)
    state = randomise(jax.eval_shape(lambda: layer.initial_state(params, (B,))), 2)
    rng = np.random.default_rng(3)
    xs = rng.standard_normal((B, T, F)).astype(np.float32)
    if "Embed" in repr(layer):
        xs = rng.integers(0, 7, (B, T))
    return params, state, xs


def run(model, *feeds):
    """Runs a model by onnxruntime; outputs by name."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString())
    named = {name: np.asarray(a) for feed in feeds for name, a in feed.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, named), strict=True))


def prefixed(prefix, tree):
    return {
        f"{prefix}.{name}": leaf for name, leaf in named_arrays.flatten(tree).items()
    }


@every_layer
def test_onnxruntime_computes_the_same(layer):
    params, state, xs = setting(layer)
    model = interop.to_model(layer, params, lengths=True, state=True)
    inputs = {"xs": xs, "lengths": LENGTHS}
    actual = run(model, inputs, prefixed("state", state))
    final, ys = layer.apply(params, state, xs, lengths=LENGTHS)
    assert_close(actual, {"ys": ys, **prefixed("final", final)}, 2e-5)
    model = interop.to_model(layer, params)
    assert [each.name for each in model.graph.input] == ["xs"]
    zero = jax.tree.map(jnp.zeros_like, state)
    _, ys = layer.apply(params, zero, xs, lengths=np.full(B, T, np.int32))
    assert_close(run(model, {"xs": xs}), {"ys": ys}, 2e-5)


def flat(layer, state):
    """The states of a stack within stacks, one after another, without dropout."""
    if not isinstance(layer, jrnn.Sequential):
        return (state,)
    pairs = zip(layer.layers, state, strict=True)
    parts = (flat(each, own) for each, own in pairs if "Dropout" not in repr(each))
    return tuple(each for part in parts for each in part)


@every_layer
@pytest.mark.parametrize("layout", [0, 1])
def test_models_come_back(layer, layout):
    params, state, xs = setting(layer)
    how = {"lengths": layout == 0, "state": layout == 1, "layout": layout}
    model = interop.to_model(layer, params, **how)
    again, weights = interop.from_model(model)
    if layer in EXACT:
        assert again == layer
        assert_close(weights, params, 0)
    twice, _ = interop.from_model(interop.to_model(again, weights, **how))
    assert twice == again
    if layout == 0:
        expected = layer.apply(params, state, xs, lengths=LENGTHS)
        states = flat(layer, state)
        own = states if isinstance(again, jrnn.Sequential) else states[0]
        actual = again.apply(weights, own, xs, lengths=LENGTHS)
        assert_close(jax.tree.leaves(actual), jax.tree.leaves(expected), 1e-6)


@pytest.mark.parametrize(
    "cell",
    [
        jrnn.Elman(H),
        jrnn.LSTM(H, separate_biases=True),
        jrnn.PeepholeLSTM(H),
        jrnn.GRU(H),
        jrnn.ResetBeforeGRU(H),
    ],
    ids=repr,
)
@pytest.mark.parametrize("layout", [0, 1])
def test_the_reference_of_onnx_computes_the_same_in_float64(cell, layout):
    with jax.enable_x64(True):
        layer = jrnn.Recurrent(cell)
        shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), F))
        params = randomise(shapes, 1, jnp.float64)
        xs = np.random.default_rng(2).standard_normal((B, T, F))
        model = interop.to_model(layer, params, layout=layout)
        evaluator = onnx.reference.ReferenceEvaluator(model)
        (actual,) = evaluator.run(None, {"xs": xs})
        _, expected = layer.apply(params, None, xs)
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_gradients_pass_through_the_conversion():
    layer = jrnn.Recurrent(jrnn.LSTM(H, separate_biases=True), reverse=True)
    params, _, xs = setting(layer)
    operator = interop.to_operator(layer, params)

    def loss(arrays):
        layer, params = interop.from_operator(operator._replace(arrays=arrays))
        return jnp.sum(jnp.sin(layer.apply(params, None, xs)[1]))

    gradients = jax.grad(loss)(operator.arrays)
    direct = jax.grad(lambda p: jnp.sum(jnp.sin(layer.apply(p, None, xs)[1])))(params)
    assert_close(gradients, interop.to_operator(layer, direct).arrays, 1e-6)


def test_states_convert_in_both_layouts():
    layer = jrnn.Bidirectional(jrnn.PeepholeLSTM(H))
    _, state, _ = setting(layer)
    for layout, shape in ((0, (2, B, H)), (1, (B, 2, H))):
        h, c = interop.state_to_onnx(layer, state, layout=layout)
        assert h.shape == c.shape == shape
        assert_close(interop.state_from_onnx(layer, h, c, layout=layout), state, 0)
    bare = interop.state_from_onnx(layer, h, layout=1)
    assert not bare.forward.c.any() and (bare.forward.h == state.forward.h).all()
    bare = interop.state_from_onnx(layer, None, c, layout=1)
    assert not bare.forward.h.any() and (bare.backward.c == state.backward.c).all()
    final, _ = layer.apply(setting(layer)[0], bare, setting(layer)[2])
    assert jax.tree.structure(final) == jax.tree.structure(bare)


@pytest.mark.parametrize(
    "cell, h, c, why",
    [
        (jrnn.LSTM(H), None, None, "needs initial_h or initial_c, got"),
        (jrnn.GRU(H), None, None, "needs initial_h and no initial_c"),
        (jrnn.GRU(H), None, np.ones((1, B, H)), "needs initial_h and no initial_c"),
        (jrnn.LSTM(H), None, np.ones((2, B, H)), "initial_c"),
    ],
)
def test_states_that_do_not_fit_are_refused(cell, h, c, why):
    with pytest.raises(ValueError, match=why):
        interop.state_from_onnx(jrnn.Recurrent(cell), h, c)
