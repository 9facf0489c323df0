"""Weights of every layout go from another library to jrnn and back unchanged."""

import jax
import numpy as np
import pytest

import jrnn
from jrnn.interop import equinox, flax, haiku, keras, torch
from tests.cases import randomise

F, H, T = 3, 4, 5


def dense(features, size, bias=True):
    kernel = {"kernel": (features, size)}
    return kernel | {"bias": (size,)} if bias else kernel


def linen(kind, features=F):
    """Shapes of the tree of a Linen cell."""
    cells = {
        "simple": {"i": dense(features, H), "h": dense(H, H, False)},
        "lstm": {f"i{g}": dense(features, H, False) for g in "ifgo"}
        | {f"h{g}": dense(H, H) for g in "ifgo"},
        "gru": {f"i{g}": dense(features, H) for g in "rzn"}
        | {f"h{g}": dense(H, H, g == "n") for g in "rzn"},
        "mgu": {f"i{g}": dense(features, H) for g in "fn"}
        | {f"h{g}": dense(H, H, g == "n") for g in "fn"},
        "mgu without reset": {f"i{g}": dense(features, H) for g in "fn"}
        | {f"h{g}": dense(H, H, False) for g in "fn"},
        "conv": {
            f"{side}h": {"kernel": (2, 3, n, 4 * H), "bias": (4 * H,)}
            for side, n in (("i", features), ("h", H))
        },
    }
    return {"cell": cells[kind]}


def fused(blocks, biased):
    sides = {"i": dense(F, blocks * H, False), "h": dense(H, blocks * H, False)}
    sides[biased]["bias"] = (blocks * H,)
    return {"cell": {f"dense_{side}": sides[side] for side in "ih"}}


def module(kind, layers=1, sides=1, bias=True):
    """Shapes of the state_dict of PyTorch."""
    blocks = {"rnn": 1, "gru": 3, "lstm": 4}[kind] * H
    shapes = {}
    for level in range(layers):
        features = sides * H if level else F
        for side in ["", "_reverse"][:sides]:
            ends = {f"weight_ih_l{level}{side}": (blocks, features)}
            ends[f"weight_hh_l{level}{side}"] = (blocks, H)
            if bias:
                ends[f"bias_ih_l{level}{side}"] = (blocks,)
                ends[f"bias_hh_l{level}{side}"] = (blocks,)
            shapes |= ends
    return shapes


def listed(blocks, bias, features=F, size=H):
    """Shapes of `get_weights` of Keras."""
    arrays = [(features, blocks * size), (size, blocks * size)]
    return arrays + [bias] if bias else arrays


def conv_core(features=F):
    parts = {"input_to_hidden": features, "hidden_to_hidden": H}
    return {
        f"conv2_d_lstm/{part}": {"w": (2, 3, n, 4 * H), "b": (4 * H,)}
        for part, n in parts.items()
    }


def core(features=F):
    return {"w": (features + H, 4 * H), "b": (4 * H,)}


linen_pair = (lambda tree: flax.from_linen_params(tree), flax.to_linen_params)
images = (lambda t: flax.from_linen_params(t, spatial=(4, 5)), flax.to_linen_params)
nnx_pair = (flax.from_nnx_params, flax.to_nnx_params)
by_gate = (flax.from_nnx_params, lambda *a: flax.to_nnx_params(*a, optimized=False))
torch_pair = (torch.from_state_dict, torch.to_state_dict)
keras_pair = (keras.from_weights, keras.to_weights)
haiku_pair = (haiku.from_params, haiku.to_params)
haiku_images = (lambda t: haiku.from_params(t, spatial=(4, 5)), haiku.to_params)
equinox_pair = (equinox.from_params, equinox.to_params)
core_gru = {"w_i": (F, 3 * H), "w_h": (H, 3 * H), "b": (3 * H,)}
linen_gates = linen("lstm")["cell"]
gates = {"if_" if name == "if" else name: part for name, part in linen_gates.items()}
stacked = {"cell": {"dense_i": dense(H, 3 * H), "dense_h": dense(H, 3 * H, False)}}
cell_gru = {"weight_ih": (3 * H, F), "weight_hh": (3 * H, H)}

ROWS = {
    "torch rnn": (module("rnn"), *torch_pair),
    "torch lstm, two layers": (module("lstm", 2), *torch_pair),
    "torch gru, two layers, both ways": (module("gru", 2, 2), *torch_pair),
    "torch gru, no bias": (module("gru", bias=False), *torch_pair),
    "torch lstm, projected": (
        module("lstm")
        | {"weight_hh_l0": (4 * 6, H), "weight_ih_l0": (4 * 6, F)}
        | {"bias_ih_l0": (24,), "bias_hh_l0": (24,), "weight_hr_l0": (H, 6)},
        *torch_pair,
    ),
    "keras simple": (listed(1, (H,)), *keras_pair),
    "keras lstm": (listed(4, (4 * H,)), *keras_pair),
    "keras lstm, no bias": (listed(4, None), *keras_pair),
    "keras gru, reset after": (listed(3, (2, 3 * H)), *keras_pair),
    "keras gru, reset before": (listed(3, (3 * H,)), *keras_pair),
    "keras bidirectional": (2 * listed(4, (4 * H,)), *keras_pair),
    "keras stack": (
        listed(4, (4 * H,)) + listed(3, (2, 15), features=H, size=5),
        *keras_pair,
    ),
    **{
        f"linen {kind}": (linen(kind), *linen_pair)
        for kind in ["simple", "lstm", "gru", "mgu", "mgu without reset"]
    },
    "linen conv": (linen("conv"), *images),
    "linen both ways": (
        {f"{way}_rnn": linen("gru") for way in ("forward", "backward")},
        *linen_pair,
    ),
    "linen stack": (
        {"layers_0": linen("gru"), "layers_1": linen("lstm", H)},
        *linen_pair,
    ),
    "nnx simple": (fused(1, "i"), *nnx_pair),
    "nnx gru": (fused(3, "i"), *nnx_pair),
    "nnx optimized lstm": (fused(4, "h"), *nnx_pair),
    "nnx lstm": ({"cell": gates}, *by_gate),
    "nnx stack": ({"layers": {0: fused(3, "i"), 1: stacked}}, *nnx_pair),
    "haiku vanilla": (
        {
            "vanilla_rnn/linear": {"w": (F, H), "b": (H,)},
            "vanilla_rnn/linear_1": {"w": (H, H), "b": (H,)},
        },
        *haiku_pair,
    ),
    "haiku lstm": ({"lstm/linear": core()}, *haiku_pair),
    "haiku lstm stack": (
        {"lstm/linear": core(), "lstm_1/linear": core(H)},
        *haiku_pair,
    ),
    "haiku gru": ({"gru": core_gru}, *haiku_pair),
    "haiku conv": (conv_core(), *haiku_images),
    "equinox lstm": (
        {"weight_ih": (4 * H, F), "weight_hh": (4 * H, H), "bias": (4 * H,)},
        *equinox_pair,
    ),
    "equinox gru": (cell_gru | {"bias": (3 * H,), "bias_n": (H,)}, *equinox_pair),
    "equinox gru, no bias": (cell_gru | {"bias": None, "bias_n": None}, *equinox_pair),
}


def draw(shapes, dtype):
    """Replaces shapes by arrays of random numbers."""
    rng = np.random.default_rng(0)
    is_shape = lambda node: isinstance(node, tuple)
    make = lambda shape: rng.standard_normal(shape).astype(dtype)
    return jax.tree.map(make, shapes, is_leaf=is_shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", ROWS)
def test_weights_go_to_jrnn_and_back_unchanged(row, dtype):
    shapes, read, write = ROWS[row]
    weights = draw(shapes, dtype)
    with jax.enable_x64(True):
        layer, params = read(weights)
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(dtype)}
        back = write(layer, params)
    assert jax.tree.structure(back) == jax.tree.structure(weights)
    tolerance = 1e-6 if dtype == "float32" else 1e-15
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(weights), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


gru_with_bias = randomise(jrnn.GRU(H).init(jax.random.key(0), F), 0)
before = jrnn.Recurrent(jrnn.ResetBeforeGRU(H))
after = jrnn.Recurrent(jrnn.GRU(H))
mgu = jrnn.Recurrent(jrnn.MGU(H))
both = jrnn.Bidirectional(jrnn.LSTM(H))
stack = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(H)))
of_stacks = jrnn.Bidirectional(stack, stack)
strided = jrnn.Recurrent(jrnn.ConvLSTM(2, (2,), (6,), strides=(2,), padding="same"))
odd = jrnn.Recurrent(jrnn.LSTM(H, output_activation=jrnn.activations.identity))


@pytest.mark.parametrize(
    ("write", "layer", "message"),
    [
        (flax.to_linen_params, before, "reset gate after"),
        (flax.to_linen_params, strided, "one stride and padding"),
        (flax.to_linen_params, odd, "one activation for candidate"),
        (flax.to_nnx_params, mgu, "NNX has no cell"),
        (haiku.to_params, after, "reset gate before"),
        (haiku.to_params, both, "directions"),
        (haiku.to_params, jrnn.Recurrent(jrnn.Elman(H)), "computes with relu"),
        (haiku.to_params, strided, "one stride and padding"),
        (equinox.to_params, both, "cells only"),
        (equinox.to_params, before, "Equinox has no cell"),
        (keras.to_weights, mgu, "Keras has no cell"),
        (keras.to_weights, odd, "one activation for candidate"),
        (keras.to_weights, jrnn.Dense(3), "no recurrent layer"),
        (torch.to_state_dict, of_stacks, "direction must be one cell"),
        (keras.to_weights, of_stacks, "direction must be one cell"),
        (flax.to_linen_params, of_stacks, "direction must be one cell"),
    ],
)
def test_what_another_library_cannot_compute_is_refused(write, layer, message):
    params = jax.eval_shape(lambda key: layer.init(key, F), jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        write(layer, params)


def test_the_bias_that_nnx_lacks_must_be_zero():
    with pytest.raises(ValueError, match="no bias under the reset gate"):
        flax.to_nnx_params(after, gru_with_bias)


@pytest.mark.parametrize(
    ("read", "weights", "message"),
    [
        (
            flax.from_linen_params,
            {"cell": {"i": {}, "x": {}}},
            "layers of a Flax cell must be",
        ),
        (
            flax.from_linen_params,
            draw(linen("conv"), "f4"),
            "`spatial=.height, width.`",
        ),
        (haiku.from_params, draw({"lstm/linear": {"w": (7, 16)}}, "f4"), "missing"),
        (
            haiku.from_params,
            draw({"gru": core_gru, "lstm/linear": core()}, "f4"),
            "order",
        ),
        (equinox.from_params, draw(cell_gru | {"bias": (12,)}, "f4"), "bias_n: False"),
        (equinox.from_params, draw(cell_gru | {"weight_hh": (0, 0)}, "f4"), "matrix"),
        (
            flax.from_nnx_params,
            draw(fused(2, "i"), "f4"),
            "3 or 4 gates, as in a cell of NNX, got 2",
        ),
        (
            haiku.from_params,
            draw({"lstm/linear": {"w": (7,), "b": (7,)}}, "f4"),
            "4 equal blocks",
        ),
        (keras.from_weights, draw(listed(3, None), "f4"), "match no layer, or several"),
        (keras.from_weights, [], "match no layer, or several"),
        (
            keras.from_weights,
            draw(2 * listed(4, (16,), H), "f4"),
            "match no layer, or several",
        ),
    ],
)
def test_weights_that_fit_no_module_are_refused(read, weights, message):
    with pytest.raises(ValueError, match=message):
        read(weights)


def test_the_forget_bias_of_haiku_is_added_once():
    weights = {"lstm/linear": {"w": np.ones((2, 4)), "b": np.zeros(4)}}
    with jax.enable_x64(True):
        layer, params = haiku.from_params(weights)
        state = haiku.state_from_haiku(layer, (np.zeros(1), np.ones(1)))
        state, _ = layer.apply(params, state, np.ones((1, 1)))
    assert float(state.c[0]) == pytest.approx(1.437567, abs=1e-6)
