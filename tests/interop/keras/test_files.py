"""Files of Keras 3 and 2 as models of jrnn, recorded and live, and what is refused."""

import io
import json
import pathlib
import zipfile

import numpy as np
import pytest

import jrnn
from jrnn.interop import keras

h5py = pytest.importorskip("h5py")
RECORDED = pathlib.Path(__file__).parent / "recorded"
GRU, LSTM = jrnn.GRU(4, separate_biases=True), jrnn.LSTM(5)
STACK = jrnn.Sequential(
    jrnn.Bidirectional(GRU), jrnn.Recurrent(LSTM, return_sequence=False), jrnn.Dense(2)
)


def recorded(name):
    with np.load(RECORDED / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def members(name):
    """Returns the members of a recorded `.keras` file."""
    with zipfile.ZipFile(RECORDED / f"{name}.keras") as archive:
        return {each: archive.read(each) for each in archive.namelist()}


def check(found, name):
    layer, params = found
    case = recorded(name)
    _, ys = layer.apply(params, None, case["xs"])
    np.testing.assert_allclose(ys, case["ys"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["stack", "tagger", "functional"])
def test_recorded_files_compute_the_same(name, tmp_path):
    check(keras.from_file(RECORDED / f"{name}.keras"), name)
    parts = members(name)
    path = tmp_path / "model.weights.h5"
    path.write_bytes(parts["model.weights.h5"])
    config = json.loads(parts["config.json"])
    check(keras.from_file(path, config), name)
    check(keras.from_file(path, config["config"]), name)


def test_a_stack_comes_back_as_layers_in_every_format():
    assert keras.from_file(RECORDED / "stack.keras")[0] == STACK
    assert keras.from_file(RECORDED / "stack.h5")[0] == STACK
    check(keras.from_file(RECORDED / "stack.h5"), "stack")


def test_a_file_of_keras_2_has_its_hard_sigmoid():
    layer, params = keras.from_file(RECORDED / "keras_2.h5")
    assert layer.layers[0].forward.gate == jrnn.activations.HardSigmoid(0.2)
    check((layer, params), "keras_2")


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_cudnn_layers_of_keras_2_convert(kind):
    case = recorded(f"cudnn_{kind}")
    arrays = [case[name] for name in ("w_x", "w_h", "bias")]
    check(keras.from_weights(arrays), f"cudnn_{kind}")
    config = {
        "class_name": f"CuDNN{kind.upper()}",
        "config": {"return_sequences": True},
    }
    check(keras.from_weights(arrays, config), f"cudnn_{kind}")


def test_live_files_compute_the_same(tmp_path):
    pytest.importorskip("keras")
    from tests.interop.keras import saved  # noqa: PLC0415  optional

    model, xs = saved.models()["stack"]
    model.compile("adam", "mse")  # its state is in the file too
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    for name, config in (
        ("model.keras", None),
        ("model.weights.h5", model.get_config()),
    ):
        layer, params = keras.from_file(tmp_path / name, config)
        assert layer == STACK
        _, ys = layer.apply(params, None, xs)
        np.testing.assert_allclose(ys, model(xs), rtol=1e-5, atol=1e-6)


def test_options_without_a_class_are_understood():
    options = {"return_sequences": True, "activation": "tanh", "use_bias": True}
    options |= {"recurrent_activation": "sigmoid", "seed": None, "units": 4}
    w = [np.ones(s, "float32") for s in ((3, 12), (4, 12), (12,))]
    assert keras.from_weights(w, {**options, "reset_after": False})[0] == (
        jrnn.Recurrent(jrnn.ResetBeforeGRU(4))
    )
    w = [np.ones(s, "float32") for s in ((3, 16), (4, 16), (16,))]
    lstm = {**options, "unit_forget_bias": True, "recurrent_activation": "hard_sigmoid"}
    expected = jrnn.LSTM(4, gate=jrnn.activations.HardSigmoid(1 / 6))
    assert keras.from_weights(w, lstm)[0] == jrnn.Recurrent(expected)
    keras_2 = {name: value for name, value in lstm.items() if name != "seed"}
    assert keras.from_weights(w, keras_2)[0].cell.gate.slope == 0.2
    with pytest.raises(ValueError, match="do not determine the layer"):
        keras.from_weights(w, {"units": 4})
    with pytest.raises(ValueError, match="do not determine the layer"):
        keras.from_weights(w, {**lstm, "filters": 4})


@pytest.mark.parametrize(
    "name", ["elu", "celu", "gelu", "leaky_relu", "mish", "hard_tanh"]
)
def test_activations_are_those_of_keras(name):
    activations = pytest.importorskip("keras").activations
    from jrnn.interop.keras.options import activation  # noqa: PLC0415

    x = np.linspace(-4, 4, 33, dtype="float32")
    expected = getattr(activations, name)(x)
    np.testing.assert_allclose(activation(name)(x), expected, rtol=1e-5, atol=1e-6)


def changed(tmp_path, edit):
    """Writes the recorded stack with another configuration or other weights."""
    parts = members("stack")
    config = json.loads(parts["config.json"])
    file = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        edit(config["config"]["layers"], weights)
    parts |= {"config.json": json.dumps(config), "model.weights.h5": file.getvalue()}
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def drop(name):
    return lambda layers, weights: weights.__delitem__(name)


def option(index, **options):
    return lambda layers, weights: layers[index]["config"].update(options)


def rename(layers, weights):
    layers[3] |= {"module": "os", "class_name": "system"}


def lack(layers, weights):
    del layers[3]["config"]["units"]


def add(layers, weights):
    weights["layers/dense_1/vars/0"] = np.ones(2, "float32")


@pytest.mark.parametrize(
    "edit, why",
    [
        (drop("layers/lstm/cell/vars/2"), "must hold 3 arrays"),
        (drop("layers/dense/vars/1"), "Dense must have 2 arrays, got 1"),
        (drop("layers/bidirectional/backward_layer/cell"), "must hold 3 arrays"),
        (add, r"\['layers/dense_1/vars/0'\] belong to no layer"),
        (rename, "must be among .*got system"),
        (lack, "not one of a Keras model: KeyError"),
        (option(3, units=3), r"must have shape \[5, 3\]"),
        (option(3, activation={"module": "builtins"}), "activation must be one of"),
        (option(2, go_backwards=True, return_sequences=True), "Keras reverses"),
    ],
)
def test_models_that_do_not_fit_are_refused(edit, why, tmp_path):
    with pytest.raises(ValueError, match=why):
        keras.from_file(changed(tmp_path, edit))


def test_weights_without_configuration(tmp_path):
    path = tmp_path / "x.weights.h5"
    path.write_bytes(members("stack")["model.weights.h5"])
    with pytest.raises(ValueError, match="do not determine the order"):
        keras.from_file(path)
    with pytest.raises(ValueError, match="config must be a dictionary"):
        keras.from_file(path, [])
    with h5py.File(path, "r+") as file:
        del file["layers/lstm"], file["layers/dense"]
    assert keras.from_file(path)[0] == STACK.layers[0]


def test_a_branching_model_is_refused(tmp_path):
    config = json.loads(members("functional")["config.json"])
    path = tmp_path / "x.weights.h5"
    path.write_bytes(members("functional")["model.weights.h5"])
    nodes = config["config"]["layers"][2]["inbound_nodes"]
    text = json.dumps(nodes).replace("sequential", "input_layer")
    config["config"]["layers"][2]["inbound_nodes"] = json.loads(text)
    with pytest.raises(ValueError, match="must form a chain"):
        keras.from_file(path, config)


def test_a_mask_that_the_model_computes_is_announced(tmp_path):
    path = tmp_path / "x.weights.h5"
    path.write_bytes(members("tagger")["model.weights.h5"])
    config = json.loads(members("tagger")["config.json"])
    config["config"]["layers"][1]["config"]["mask_zero"] = True
    with pytest.warns(UserWarning, match="pass `mask=.ids != 0."):
        keras.from_file(path, config)
