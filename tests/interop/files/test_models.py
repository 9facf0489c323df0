"""Model files: layers come back, and descriptions build nothing but what jrnn has."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import activations as a
from jrnn.interop import files
from jrnn.interop.files import models
from tests.cases import CASES, assert_close, randomise

F = 3
LAYERS = [
    jrnn.Sequential(
        jrnn.Embed(7, 4),
        jrnn.Bidirectional(
            jrnn.GRU(5, gate=a.HardSigmoid(slope=0.3)), jrnn.LSTM(5), merge="sum"
        ),
        jrnn.Residual(jrnn.Sequential(jrnn.Dropout(0.5, locked=True), jrnn.Dense(5))),
    ),
    jrnn.Recurrent(
        jrnn.PeepholeLSTM(
            4, coupled=True, gate=a.Clipped(a.sigmoid, 0.5), output_activation=a.relu
        ),
        reverse=True,
        remat=(2, 3),
    ),
    jrnn.Bidirectional(
        jrnn.Recurrent(
            jrnn.LayerNormLSTM(4),
            return_sequence=False,
            method=jrnn.kernels.Gated(jrnn.kernels.Layout(chunk=2, save=False)),
        ),
        merge=None,
    ),
    jrnn.Recurrent(
        jrnn.LRU(4, output_features=2), method=jrnn.kernels.Linear(order="associative")
    ),
    jrnn.Stack(
        jrnn.LSTM(5), jrnn.Recurrent(jrnn.GRU(4)), dropout=0.25, locked=True, skip=True
    ),
    jrnn.Tied(jrnn.Embed(7, 4), jrnn.Stack(jrnn.Elman(5), jrnn.GRU(4))),
    jrnn.Sequential(jrnn.Attention(4, memory_size=6, score="dot"), jrnn.LayerNorm()),
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_file_is_enough_to_go_on(tmp_path, layer, dtype):
    path = tmp_path / "model.safetensors"
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), F, dtype))
    params = randomise(shapes, 1)
    files.save_model(path, layer, params, input_size=F)
    again, weights = files.load_model(path)
    assert again == layer and repr(again) == repr(layer)
    assert_close(weights, params, 0)
    assert {leaf.dtype for leaf in jax.tree.leaves(weights)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_cell_can_be_described(case):
    text = json.dumps(files.to_config(case.cell))
    assert files.from_config(json.loads(text)) == case.cell


@pytest.mark.parametrize(
    "draw", [jrnn.initializers.Chrono(longest=50), jrnn.initializers.uniform_gate]
)
def test_how_forget_biases_are_drawn_can_be_described(draw):
    cell = jrnn.LSTM(4, forget_bias=draw)
    assert files.from_config(json.loads(json.dumps(files.to_config(cell)))) == cell


@pytest.mark.parametrize(
    "config, why",
    [
        ({"kind": "os.system"}, "the kind must be one of .*, got 'os.system'"),
        ({"kind": ["LSTM"]}, "the kind must be"),
        (
            {"kind": "Sequential", "layers": [{"kind": "eval"}]},
            "the kind must be one of .*, got 'eval'",
        ),
        ({"hidden_size": 4}, "the kind must be one of .*, got None"),
        (
            {"kind": "LSTM", "hidden_size": 4, "code": "1"},
            "fields of LSTM must be .*, got .'code'.",
        ),
        (
            {"kind": "LSTM", "hidden_size": "4"},
            "LSTM cannot have .*: LSTM.hidden_size must be an integer, got '4'",
        ),
        ({"kind": "LSTM", "hidden_size": 4, "bias": "double"}, "bias must be True or"),
        ({"kind": "LSTM"}, "LSTM cannot have the options {}: .*'hidden_size'"),
        ({"kind": "Recurrent", "cell": {"kind": "Dense", "features": 2}}, "be a cell"),
        ({"kind": "Sequential", "layers": 3}, "Sequential cannot have the options"),
        ({"kind": "Scan", "layout": 1}, "fields of Scan must be .*, got .'layout'."),
        ({"function": "jax.numpy.tanh"}, "function must be .*, got 'jax.numpy.tanh'"),
        ({"function": "tanh", "module": "os"}, "the kind must be one of .*, got None"),
        (json.loads("[" * 40 + "]" * 40), "at most 32 deep"),
        ({1, 2}, "must be plain data, got"),
    ],
)
def test_descriptions_name_nothing_but_what_jrnn_has(config, why):
    with pytest.raises(files.FileError, match=why):
        files.from_config(config)


def test_each_name_stands_for_one_class():
    rooms = jrnn.cells, jrnn.layers, jrnn.kernels, jrnn.activations
    known_names = {**models.CLASSES, **models.FUNCTIONS}
    for name in ("Chrono", "uniform_gate"):  # all that is of the initializers
        assert known_names.pop(name) is vars(jrnn.initializers)[name]
    for name, known in known_names.items():
        assert {id(vars(room)[name]) for room in rooms if name in vars(room)} == {
            id(known)
        }


def test_numbers_of_numpy_are_written_as_plain_numbers():
    layer = jrnn.Recurrent(jrnn.LSTM(np.int64(4), forget_bias=np.float32(0.5)))
    config = json.loads(json.dumps(files.to_config(layer)))
    assert files.from_config(config) == layer


def test_foreign_parts_and_wrong_parameters_are_not_written(tmp_path):
    path = tmp_path / "model.npz"
    layer = jrnn.Recurrent(jrnn.GRU(4))
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), F))
    params = randomise(shapes, 1)
    with pytest.raises(files.FileError, match="tanh.* is not part of jrnn"):
        foreign = jrnn.Recurrent(jrnn.GRU(4, activation=jnp.tanh))
        files.save_model(path, foreign, params, F)
    with pytest.raises(files.FileError, match="w_x must have shape .4, 12.,"):
        files.save_model(path, layer, params, 4)
    assert not os.listdir(tmp_path)


def test_files_with_another_content_are_refused(tmp_path):
    path = tmp_path / "model.npz"
    files.save(path, {"w": np.ones(3)})
    with pytest.raises(files.FileError, match="must describe a model"):
        files.load_model(path)
    for text in ("{}", "nonsense", '{"layer": {"kind": "Nope"}}'):
        files.save_arrays(path, {"w": np.ones(3)}, {"jrnn.model": text})
        with pytest.raises(files.FileError, match="model.npz"):
            files.load_model(path)
