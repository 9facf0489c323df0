"""Recorded cases of WebNN and TensorFlow Lite, as operators of ONNX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop.onnx import (
    Operator,
    from_operator,
    state_from_onnx,
    state_to_onnx,
)
from tests.conformance import recorded

DIRECTIONS = {"forward": "forward", "backward": "reverse", "both": "bidirectional"}


def run(layer, params, xs, initial=()):
    """Runs a layer over [T, B, F]; returns [T, B, D * H] and [D, B, H] of h and c."""
    state = state_from_onnx(layer, *initial) if initial else None
    final, ys = layer.apply(params, state, jnp.asarray(xs).swapaxes(0, 1))
    return ys.swapaxes(0, 1), *state_to_onnx(layer, final)


def reordered(array, layout, axis):
    """Moves gates from a layout of WebNN to ONNX's."""
    wanted = "iofg" if len(layout) == 4 else "zrn"
    blocks = np.split(array, len(layout), axis)
    return np.concatenate([blocks[layout.index(gate)] for gate in wanted], axis)


def webnn_operator(case):
    config, lstm = case.config, case.config["op"].startswith("lstm")
    layout = config.get("layout", "iofg" if lstm else "zrn")
    cell = config["op"].endswith("cell")
    weights = {k: v[None] if cell else v for k, v in case.weights.items()}
    turned = {
        name: reordered(array, layout, 1)
        for name, array in weights.items()
        if name != "peepholeWeight"
    }
    arrays = {"W": turned["weight"], "R": turned["recurrentWeight"]}
    zero = np.zeros_like(arrays["W"][..., 0])
    biases = [turned.get(name, zero) for name in ("bias", "recurrentBias")]
    arrays["B"] = np.concatenate(biases, 1)
    if "peepholeWeight" in weights:
        arrays["P"] = weights["peepholeWeight"]
    attributes = {"direction": DIRECTIONS[config.get("direction", "forward")]}
    if not lstm:
        attributes["linear_before_reset"] = int(config.get("resetAfter", True))
    names = config.get("activations", [])
    attributes["activations"] = names * arrays["W"].shape[0]
    return Operator("LSTM" if lstm else "GRU", attributes, arrays)


@recorded.every("webnn")
def test_recorded_cases_of_webnn(path):
    case = recorded.load(path)
    cell = case.config["op"].endswith("cell")
    xs = case.inputs["input"]
    kinds = ["hiddenState", "cellState"]
    if not cell:
        kinds = [f"initial{kind[0].upper()}{kind[1:]}" for kind in kinds]
    initial = [case.inputs[kind] for kind in kinds if kind in case.inputs]
    with jax.enable_x64(True):
        layer, params = from_operator(webnn_operator(case))
        initial = [jnp.asarray(a[None] if cell else a) for a in initial]
        ys, h, c = run(layer, params, xs[None] if cell else xs, initial)
        both = isinstance(layer, jrnn.Bidirectional)
        ys = jnp.stack(jnp.split(ys, 1 + both, -1), 1)  # [T, D, B, H]
        actual = {"h_n": h, "c_n": c, "y": ys, "h1": h[0]}
        actual["c1"] = None if c is None else c[0]
        for name, expected in case.outputs.items():
            recorded.close(case, name, actual[name], expected)


def tflite_lstm(case):
    """An LSTM of TensorFlow Lite; where gates are coupled its i is 1 - f, so i = -f."""
    weights = dict(case.weights)
    gates = {"i": "input", "o": "output", "f": "forget", "g": "cell"}
    coupled = case.config["cifg"]
    if coupled:
        for name in [name for name in weights if "forget" in name]:
            own = name.replace("forget", "input")
            weights[own] = -weights[name]
    stack = lambda form: np.concatenate(
        [weights[form.format(gate)] for gate in gates.values()]
    )
    arrays = {"W": stack("input_to_{}_weights"), "R": stack("recurrent_to_{}_weights")}
    bias = stack("{}_gate_bias")
    arrays["B"] = np.concatenate([bias, np.zeros_like(bias)])
    if case.config["peephole"]:
        looks = [weights[f"cell_to_{gates[gate]}_weights"] for gate in "iof"]
        arrays["P"] = np.concatenate(looks)
    both = case.name.startswith("bidir")
    arrays = {name: np.stack([a] * (1 + both)) for name, a in arrays.items()}
    attributes = {"input_forget": int(coupled)}
    attributes["direction"] = "bidirectional" if both else "forward"
    return Operator("LSTM", attributes, arrays)


def tflite_gru(case):
    """Kernels that multiply [x, h], of the gates r and z, and of the candidate."""
    weights, size = case.weights, case.inputs["x"].shape[-1]
    r, z = np.split(weights["gate_weight"], 2)
    joint = np.concatenate([z, r, weights["candidate_weight"]])
    b_r, b_z = np.split(weights["gate_bias"], 2)
    bias = np.concatenate([b_z, b_r, weights["candidate_bias"]])
    arrays = {"W": joint[None, :, :size], "R": joint[None, :, size:]}
    arrays["B"] = np.concatenate([bias, np.zeros_like(bias)])[None]
    return Operator("GRU", {}, arrays)


def tflite_rnn(case):
    weights, config = case.weights, case.config
    arrays = {"W": weights["W"][None], "R": weights["R"][None]}
    arrays["B"] = np.concatenate([weights["b"], np.zeros_like(weights["b"])])[None]
    direction = "reverse" if config["reverse"] else "forward"
    attributes = {"activations": [config["activation"]], "direction": direction}
    return Operator("RNN", attributes, arrays)


@recorded.every("tflite")
def test_recorded_cases_of_tflite(path):
    case = recorded.load(path)
    if case.config.get("projection") or case.config.get("layer_norm"):
        pytest.skip("no operator of ONNX projects or normalizes")
    make = {"LSTM": tflite_lstm, "GRU": tflite_gru, "RNN": tflite_rnn}
    with jax.enable_x64(True):
        layer, params = from_operator(make[case.config["op"]](case))
        initial = [jnp.asarray(case.inputs["h0"])[None]] if "h0" in case.inputs else []
        ys, _, _ = run(layer, params, case.inputs["x"], initial)
        recorded.close(case, "y", ys, case.outputs["y"])
