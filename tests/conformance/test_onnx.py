"""Recorded cases of ONNX and of onnxruntime, through the importer of models."""

import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.conformance import recorded

onnx = pytest.importorskip("onnx")
from jrnn.interop import onnx as interop  # noqa: E402


def model_of(case):
    """The model of one operator that a case was recorded from."""
    config, arrays = case.config, {**case.inputs, **case.weights}
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    info = onnx.helper.make_tensor_value_info
    outputs = ["Y", "Y_h", *(["Y_c"] if config["op"] == "LSTM" else [])]
    attributes = {k: v for k, v in config["attributes"].items() if k != "clip" or v > 0}
    names = [name if name in arrays else "" for name in order]
    node = onnx.helper.make_node(config["op"], names, outputs, **attributes)
    kinds = {np.float32: onnx.TensorProto.FLOAT, np.int32: onnx.TensorProto.INT32}
    graph = onnx.helper.make_graph(
        [node],
        case.name,
        [info(k, kinds[v.dtype.type], v.shape) for k, v in case.inputs.items()],
        [info("Y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(v, k) for k, v in case.weights.items()],
    )
    return onnx.helper.make_model(graph)


def replay(path):
    case = recorded.load(path)
    names = "X sequence_lens initial_h initial_c"
    recorded.honors(case, "op attributes inputs outputs opset lens I", names)
    layer, params = interop.from_model(model_of(case))
    layout = case.config["attributes"].get("layout", 0)
    xs, state = case.inputs["X"], None
    if "initial_h" in case.inputs:
        initial = [case.inputs.get(name) for name in ("initial_h", "initial_c")]
        state = interop.state_from_onnx(layer, *initial, layout=layout)
    final, ys = layer.apply(
        params,
        state,
        jnp.asarray(xs if layout else xs.swapaxes(0, 1)),
        lengths=case.inputs.get("sequence_lens"),
    )
    h, c = interop.state_to_onnx(layer, final, layout=layout)
    both = isinstance(layer, jrnn.Bidirectional)
    ys = jnp.stack(jnp.split(ys, 1 + both, -1), 2)  # [B, T, D, H]
    if not layout:
        ys = ys.transpose(1, 2, 0, 3)
    actual = {"Y": ys, "Y_h": h, "Y_c": c}
    for name, expected in case.outputs.items():
        recorded.close(case, name, actual[name], expected)


@recorded.every("onnx_node")
def test_recorded_cases_of_onnx(path):
    replay(path)


@recorded.every("ort")
def test_recorded_cases_of_onnxruntime(path):
    replay(path)


@recorded.every("ort_literals")
def test_literals_in_the_tests_of_onnxruntime(path):
    replay(path)
