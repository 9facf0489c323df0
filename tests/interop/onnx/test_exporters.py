"""ONNX: files of PyTorch's exporters, recorded and live, and graphs like theirs."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn

onnx = pytest.importorskip("onnx")
from jrnn.interop import onnx as interop  # noqa: E402
from tests.interop.onnx.test_refusals import graph  # noqa: E402

T, B, F, H = 5, 3, 2, 4
RECORDED = sorted((pathlib.Path(__file__).parent / "recorded").glob("*.onnx"))
FINAL = {"return_sequence": False}
LSTM, GRU = (cell(H, separate_biases=True) for cell in (jrnn.LSTM, jrnn.GRU))
BOTH = jrnn.Bidirectional(LSTM)
EXPECTED = {
    "gru": jrnn.Recurrent(jrnn.GRU(H, bias=False)),
    "lstm_2_both": jrnn.Sequential(BOTH, BOTH),
    "lstm_2_both_state": jrnn.Sequential(BOTH, BOTH),
    "gru_both": jrnn.Bidirectional(GRU),
    "tagger": jrnn.Sequential(
        jrnn.Embed(7, F), jrnn.Recurrent(LSTM), jrnn.Recurrent(LSTM), jrnn.Dense(3)
    ),
    "last_step": jrnn.Sequential(jrnn.Recurrent(GRU, **FINAL), jrnn.Dense(3)),
    "last_state": jrnn.Sequential(
        jrnn.Recurrent(GRU), jrnn.Recurrent(GRU, **FINAL), jrnn.Dense(3)
    ),
    "last_of_both": jrnn.Sequential(
        jrnn.Bidirectional(GRU),
        jrnn.Bidirectional(jrnn.Recurrent(GRU, **FINAL)),
        jrnn.Dense(3),
    ),
    "tf_lstm": jrnn.Recurrent(LSTM),
    "tf_gru_last": jrnn.Recurrent(GRU, **FINAL),
    "tf_both": jrnn.Sequential(
        jrnn.Bidirectional(GRU),
        jrnn.Bidirectional(jrnn.Recurrent(jrnn.LSTM(3, separate_biases=True), **FINAL)),
        jrnn.Dense(2),
    ),
    "backward_state": jrnn.Sequential(
        jrnn.Recurrent(GRU, reverse=True, **FINAL), jrnn.Dense(3)
    ),
}


def check(name, model, xs, ys):
    """Compares a model that is read with its layer and with PyTorch's output."""
    made = interop.from_model(model)
    assert made.layer == made[0] == EXPECTED[name] and made.params is made[1]
    assert made.time_major == name.startswith("lstm")
    swap = (lambda a: np.swapaxes(a, 0, 1)) if made.time_major else (lambda a: a)
    _, actual = made.layer.apply(made.params, None, swap(np.asarray(xs)))
    np.testing.assert_allclose(swap(actual), ys, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_files_of_other_exporters(path):
    model = onnx.load(path)
    found = {each.key: json.loads(each.value) for each in model.metadata_props}
    name = path.stem.removesuffix("_free")
    refused = {"rnn": "unrolls `torch.nn.RNN` into MatMul", "tf_rnn": "body of a Loop"}
    if name in refused:
        with pytest.raises(ValueError, match=refused[name]):
            interop.from_model(model)
        return
    xs = np.asarray(found["xs"], np.int32 if name == "tagger" else np.float32)
    check(name, model, xs, found["ys"])


@pytest.mark.parametrize(
    "name, dynamo",
    [(name, True) for name in EXPECTED if not name.startswith("tf_")]
    + [(name, False) for name in ("gru", "lstm_2_both", "last_of_both")],
)
@pytest.mark.filterwarnings("ignore")  # the older exporter is deprecated
def test_live_files_of_both_exporters(name, dynamo):
    pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    from tests.interop.onnx import exporters  # noqa: PLC0415  optional

    model, inputs = exporters.cases()[name]
    for free in (False, True)[: 1 if len(inputs) > 1 else 2]:
        made = exporters.export(model, inputs, dynamo=dynamo, free=free)
        check(name, made, inputs[0], exporters.outputs(model, inputs))


MODEL = jrnn.Sequential(
    jrnn.Recurrent(jrnn.GRU(H + 3), method="scan"), jrnn.Dense(F + 7)
)


def test_jax2onnx_writes_a_loop_that_runs():
    """It traces with functions of its own, so its traces must not stay in caches."""
    jax2onnx = pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    params = MODEL.init(jax.random.key(0), F)
    xs = np.random.default_rng(0).standard_normal((B, T, F)).astype(np.float32)
    expected = MODEL.apply(params, None, xs)[1]
    shape = jax.ShapeDtypeStruct(xs.shape, xs.dtype)
    try:
        made = jax2onnx.to_onnx(lambda xs: MODEL.apply(params, None, xs)[1], [shape])
    finally:
        jax.clear_caches()
    session = runtime.InferenceSession(made.SerializeToString())
    (ys,) = session.run(None, {session.get_inputs()[0].name: xs})
    np.testing.assert_allclose(ys, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="body of a Loop"):
        interop.from_model(made)


def test_shapes_are_read_without_jax(monkeypatch):
    """jax2onnx replaces `jax.numpy.shape` by a function that returns tracers."""
    monkeypatch.delattr(jnp, "shape")
    xs = jnp.ones((B, T, F))
    params = jax.eval_shape(lambda: MODEL.init(jax.random.key(0), F))
    made = jax.eval_shape(
        lambda p: MODEL.apply(p, None, xs, mask=xs[..., 0] > 0), params
    )
    assert made[1].shape == (B, T, F + 7)


def joined(shape, **how):
    """A graph that transposes to [T, B, D, F] and reshapes, as PyTorch exports it."""
    nodes = [
        ("GRU", ["X", "W", "R"], ["y"], {}),
        ("Transpose", ["y"], ["t"], {"perm": [0, 2, 1, 3]}),
        ("Reshape", ["t", "s"], ["Y"], how),
    ]
    return graph(nodes, {"s": np.array(shape)})


@pytest.mark.parametrize(
    "shape", [[5, 3, H], [0, 0, H], [0, 0, -1], [-1, 3, H], [5, -1, H], [0, 3, -1]]
)
def test_shapes_of_a_reshape_that_keep_the_axes(shape):
    assert interop.from_model(joined(shape))[0].cell.hidden_size == H


@pytest.mark.parametrize(
    "shape, how",
    [
        ([3, 5, H], {}),  # time and batch swapped: rows would mix
        ([15, 1, H], {}),
        ([-1, -1, H], {}),
        ([0, 0, H], {"allowzero": 1}),
        ([5, 3, 2, 2], {}),
        ([5, 3 * H], {}),
        ([3, -1, H], {}),
    ],
)
def test_a_reshape_that_mixes_axes_is_refused(shape, how):
    with pytest.raises(ValueError, match="Reshape must join both directions"):
        interop.from_model(joined(shape, **how))


W2, R2 = np.ones((2, 3 * H, F), "f"), np.ones((2, 3 * H, H), "f")
BOTH_WAYS = ("GRU", ["X", "w", "r"], ["y"], {"direction": "bidirectional"})
ENDS = ("GRU", ["X", "w", "r"], ["", "y"], {"direction": "bidirectional"})
HALF = {"w": W2, "r": R2, "n0": [0], "n1": [1], "n2": [2], "i0": 0, "i1": 1, "m1": -1}
SPLIT = ("Split", ["y"], ["a", "b"], {"axis": 1})
SQUEEZE = [("Squeeze", [n, "n1"], [n * 2], {}) for n in "ab"]
APART = [BOTH_WAYS, SPLIT, *SQUEEZE]
RESET = jrnn.ResetBeforeGRU(H, bias=False)


def picks(*pairs):
    """Nodes that pick a direction and a step of y."""
    return [
        node
        for n, (side, step) in zip("ab", pairs, strict=True)
        for node in (
            ("Gather", ["y", side], [n], {"axis": 1}),
            ("Gather", [n, step], [n * 2], {"axis": 0}),
        )
    ]


@pytest.mark.parametrize(
    "nodes, layer",
    [
        (
            [*APART, ("Concat", ["aa", "bb"], ["Y"], {"axis": -1})],
            jrnn.Bidirectional(RESET),
        ),
        (
            [*APART, ("Add", ["aa", "bb"], ["Y"], {})],
            jrnn.Bidirectional(RESET, merge="sum"),
        ),
        (
            [*APART, ("Mul", ["aa", "bb"], ["Y"], {})],
            jrnn.Bidirectional(RESET, merge="mul"),
        ),
        (
            [
                BOTH_WAYS,
                ("Slice", ["y", "n0", "n1", "n1"], ["a"], {}),
                ("Slice", ["y", "n1", "n2", "n1"], ["b"], {}),
                *SQUEEZE,
                ("Concat", ["aa", "bb"], ["Y"], {"axis": 2}),
            ],
            jrnn.Bidirectional(RESET),
        ),
        (
            [
                BOTH_WAYS,
                SPLIT,
                ("Concat", ["a", "b"], ["z"], {"axis": 1}),
                ("ReduceSum", ["z", "n1"], ["Y"], {"keepdims": 0}),
            ],
            jrnn.Bidirectional(RESET, merge="sum"),
        ),
        (
            [
                ENDS,
                ("Gather", ["y", "i0"], ["a"], {"axis": 0}),
                ("Gather", ["y", "i1"], ["b"], {"axis": 0}),
                ("Concat", ["a", "b"], ["Y"], {"axis": 1}),
            ],
            jrnn.Bidirectional(jrnn.Recurrent(RESET, **FINAL)),
        ),
        (
            [
                BOTH_WAYS,
                *picks(("i0", "m1"), ("i1", "i0")),
                ("Concat", ["aa", "bb"], ["Y"], {"axis": 1}),
            ],
            jrnn.Bidirectional(jrnn.Recurrent(RESET, **FINAL)),
        ),
        (
            [BOTH_WAYS, SPLIT, ("Squeeze", ["b", "n1"], ["Y"], {})],
            jrnn.Recurrent(RESET, reverse=True),
        ),
    ],
)
def test_directions_that_are_separated_and_joined(nodes, layer):
    assert interop.from_model(graph(nodes, HALF))[0] == layer


@pytest.mark.parametrize(
    "nodes, why",
    [
        ([*APART, ("Concat", ["bb", "aa"], ["Y"], {"axis": -1})], "forward first"),
        ([*APART, ("Concat", ["aa", "aa"], ["Y"], {"axis": -1})], "forward first"),
        ([*APART, ("Concat", ["aa", "bb"], ["Y"], {"axis": 0})], "join the features"),
        ([*APART, ("Concat", ["aa", "X"], ["Y"], {"axis": 2})], "single path"),
        (
            [
                BOTH_WAYS,
                *picks(("i0", "m1"), ("i1", "m1")),
                ("Concat", ["aa", "bb"], ["Y"], {"axis": 1}),
            ],
            "step -1 is not the last",
        ),
        (
            [
                BOTH_WAYS,
                ("ReduceSum", ["y", "n1"], ["s"], {"keepdims": 0}),
                ("Gather", ["s", "m1"], ["Y"], {"axis": 0}),
            ],
            "only one step of one direction",
        ),
        (
            [
                GRU_ := ("GRU", ["X", "W", "R"], ["y"], {}),
                ("Gather", ["y", "i1"], ["Y"], {}),
            ],
            "step 1 is not the last",
        ),
        (
            [GRU_, ("Gather", ["y", "i1"], ["Y"], {"axis": 2})],
            "one direction or the last step",
        ),
    ],
)
def test_what_joins_or_picks_anything_else_is_refused(nodes, why):
    with pytest.raises(ValueError, match=why):
        interop.from_model(graph(nodes, HALF))
