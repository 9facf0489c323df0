"""ONNX: what cannot be written or read says why; graphs of other exporters."""

import jax
import numpy as np
import pytest

import jrnn
from jrnn import activations as a
from tests.cases import randomise

onnx = pytest.importorskip("onnx")
from jrnn.interop import onnx as interop  # noqa: E402

F, H = 2, 4
HARD = a.Clipped(a.sigmoid, 0.5)


@pytest.mark.parametrize(
    "layer, why",
    [
        (jrnn.Recurrent(jrnn.ProjectedLSTM(H, 3)), "no input for a projection"),
        (jrnn.Recurrent(jrnn.IndRNN(H)), "no operator computes IndRNN"),
        (
            jrnn.Residual(jrnn.Recurrent(jrnn.GRU(F))),
            "no operator that can be read back",
        ),
        (jrnn.Bidirectional(jrnn.GRU(H), merge=None), "returns a pair"),
        (jrnn.Bidirectional(jrnn.GRU(H), jrnn.LSTM(H)), "must have one op_type"),
        (jrnn.Bidirectional(jrnn.GRU(H), jrnn.GRU(3)), "one shape of R"),
        (jrnn.Bidirectional(jrnn.Dense(H), jrnn.GRU(H)), "direction must be one cell"),
        (
            jrnn.Bidirectional(jrnn.GRU(H), jrnn.ResetBeforeGRU(H)),
            "must have one flags",
        ),
        (jrnn.Recurrent(jrnn.Elman(H, activation=a.selu)), "no activation 'selu'"),
        (
            jrnn.Recurrent(jrnn.GRU(H, gate=HARD)),
            "clips the inputs of all gates",
        ),
        (
            jrnn.Recurrent(jrnn.LSTM(H, gate=HARD, activation=HARD)),
            "Use an `output_activation`",
        ),
    ],
    ids=repr,
)
def test_what_onnx_cannot_express_is_an_error(layer, why):
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), F))
    with pytest.raises(ValueError, match=why):
        interop.to_model(layer, randomise(shapes, 1))


def test_options_and_parameters_are_checked():
    layer = jrnn.Recurrent(jrnn.GRU(H))
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), F))
    params = randomise(shapes, 1)
    with pytest.raises(ValueError, match="layout must be 0 or 1"):
        interop.to_model(layer, params, layout=2)
    with pytest.raises(ValueError, match="must have one dtype"):
        interop.to_model(layer, params._replace(b_x=params.b_x.astype("bfloat16")))


W, R = np.ones((1, 3 * H, F), "f"), np.ones((1, 3 * H, H), "f")


@pytest.mark.parametrize(
    "attributes, arrays, why",
    [
        ({"direction": "back"}, {}, "direction must be one of"),
        ({"direction": "bidirectional"}, {}, r"must have shape \[2, 12, 2\]"),
        ({"hidden_size": 5}, {}, "hidden_size must be 4, .* got 5"),
        ({"clip": 0.0}, {}, "clip must be positive"),
        ({"activations": ["Tanh"]}, {}, "2 entries"),
        ({"activations": ["Tanh", "Sine"]}, {}, "activations must be one of"),
        ({"activations": ["Affine", "Tanh"]}, {}, "no default alpha and beta"),
        (
            {"activations": ["Sigmoid", "ScaledTanh"], "activation_alpha": [1.0]},
            {},
            "no default alpha and beta for ScaledTanh",
        ),
        ({"dropout": 0.5}, {}, "attributes must be .*, got .'dropout'."),
        ({}, {"B": np.ones((1, 3 * H), "f")}, r"B must have shape \[1, 24\]"),
        ({}, {"Q": W}, "arrays must be W, R, B and P, got .'Q'."),
        ({}, {"W": None}, "W and R are required"),
        ({}, {"W": W[0]}, "W and R must be"),
    ],
)
def test_operators_that_do_not_fit_are_refused(attributes, arrays, why):
    operator = interop.Operator("GRU", attributes, {"W": W, "R": R} | arrays)
    with pytest.raises(ValueError, match=why):
        interop.from_operator(operator)


def graph(nodes, constants=(), inputs=("X",), shape=(5, 3, F)):
    """A model of these nodes that ends in Y; constants are W, R and what is given."""
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    made = onnx.helper.make_graph(
        [make(op, ins, outs, **how) for op, ins, outs, how in nodes],
        "g",
        [info(name, kind, shape) for name in inputs],
        [info("Y", kind, None)],
        [
            onnx.numpy_helper.from_array(np.asarray(array), name)
            for name, array in {"W": W, "R": R, **dict(constants)}.items()
        ],
    )
    return onnx.helper.make_model(made)


GRU = ("GRU", ["X", "W", "R"], ["Y"], {})
LAST = ("GRU", ["X", "W", "R"], ["", "Y"], {})
H0 = np.ones((1, 3, H), "f")


@pytest.mark.parametrize(
    "model, why",
    [
        (graph([]), "no node computes 'Y'"),
        (graph([("Sin", ["X"], ["Y"], {})]), "Sin, which no layer contains"),
        (graph([("Identity", ["X"], ["Y"], {})]), "contains no layer"),
        (graph([("Add", ["X", "X"], ["Y"], {})]), "A layer is a single path"),
        (graph([("Identity", ["Y"], ["Y"], {})]), "has a cycle"),
        (
            graph(
                [
                    ("GRU", ["X", "W", "R"], ["y"], {}),
                    ("Concat", ["y", "y"], ["z"], {"axis": 2}),
                    ("Concat", ["z", "z"], ["Y"], {"axis": 2}),
                ]
            ),
            "join directions only once",
        ),
        (
            graph([("Squeeze", ["w"], ["w"], {}), ("GRU", ["X", "w", "R"], ["Y"], {})]),
            "has a cycle",
        ),
        (
            graph(
                [
                    *(
                        ("Concat", [f"c{i}"] * 1024, [f"c{i + 1}"], {"axis": 0})
                        for i in range(3)
                    ),
                    ("GRU", ["X", "c3", "R"], ["Y"], {}),
                ],
                {"c0": np.zeros(1, bool)},
            ),
            "must have at most 268435456 elements",
        ),
        (
            graph([("GRU", ["X", "X", "R"], ["Y"], {})]),
            "input 1 of GRU must be constant",
        ),
        (
            graph([("GRU", ["X", "W", "R", "", "", "H0"], ["Y"], {})], {"H0": H0}),
            "an argument of `apply`",
        ),
        (
            graph(
                [("GRU", ["X", "W", "R", "", "n"], ["Y"], {})],
                {"n": np.full(3, 4, np.int32)},
            ),
            "sequence_lens is constant",
        ),
        (
            graph(
                [
                    ("Exp", ["h"], ["e"], {}),
                    ("GRU", ["X", "W", "R", "", "", "e"], ["Y"], {}),
                ],
                inputs=("X", "h"),
            ),
            "must be an input of the model",
        ),
        (
            graph(
                [
                    ("Transpose", ["X"], ["x"], {"perm": [2, 0, 1]}),
                    ("GRU", ["x", "W", "R"], ["Y"], {}),
                ]
            ),
            "got the axes .'f', 0, 1.",
        ),
        (
            graph(
                [
                    ("GRU", ["X", "W", "R"], ["y"], {}),
                    ("Reshape", ["y", "s"], ["Y"], {}),
                ],
                {"s": np.array([3, 5, H])},
            ),
            "Reshape must join both directions",
        ),
        (
            graph([("MatMul", ["K", "X"], ["Y"], {})], {"K": np.ones((3, 3), "f")}),
            "must compute `x w . b`",
        ),
        (
            graph([("Add", ["X", "b"], ["Y"], {})], {"b": np.ones(F, "f")}),
            "must follow a MatMul",
        ),
    ],
)
def test_models_that_are_no_layers_are_refused(model, why):
    with pytest.raises(ValueError, match=why):
        interop.from_model(model)


def test_weights_in_other_files_are_refused():
    model = graph([GRU])
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(ValueError, match="in another file"):
        interop.from_model(model)


def test_graphs_in_the_manner_of_other_exporters_are_read():
    layer, _ = interop.from_model(graph([LAST]))
    assert layer == jrnn.Recurrent(jrnn.ResetBeforeGRU(H, bias=False), False, False)
    head = {"K": np.ones((3, H), "f"), "b": np.ones(3, "f"), "zero": [0], "one": [1]}
    head |= {"z": np.zeros((1, 3, H), "f"), "w": W[0], "shape": np.array([1, 3, H])}
    batch_first = [
        ("Transpose", ["X"], ["x"], {"perm": [1, 0, 2]}),
        ("Unsqueeze", ["w", "zero"], ["W1"], {}),  # computed from constants
        ("ConstantOfShape", ["shape"], ["h0"], {}),
        ("GRU", ["x", "W1", "R", "", "", "h0"], ["y"], {"linear_before_reset": 1}),
        ("Squeeze", ["y", "one"], ["s"], {}),
        ("Dropout", ["s"], ["d"], {}),
        ("Transpose", ["d"], ["Y"], {"perm": [1, 0, 2]}),
    ]
    assert interop.from_model(graph(batch_first, head))[0] == (
        jrnn.Recurrent(jrnn.GRU(H, bias=False))
    )
    last = [
        ("GRU", ["X", "W", "R", "", "", "z"], ["", "h"], {}),
        ("Squeeze", ["h", "zero"], ["s"], {}),
        ("Gemm", ["s", "K", "b"], ["Y"], {"transB": 1}),
    ]
    layer, params = interop.from_model(graph(last, head))
    assert layer.layers[1] == jrnn.Dense(3)
    assert params[1].w.shape == (H, 3) and params[1].b.shape == (3,)
