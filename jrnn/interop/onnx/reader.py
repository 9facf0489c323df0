"""Builds a layer from an ONNX model."""

from typing import Any, Self

import jax.numpy as jnp
import numpy as np
import onnx

from jrnn.interop.common import stacks
from jrnn.interop.common.foreign_arrays import check_shape, to_array
from jrnn.interop.onnx import operators
from jrnn.interop.onnx.expect import expect
from jrnn.interop.onnx.graph import RECURRENT, Graph, Step
from jrnn.interop.onnx.moves import Moves
from jrnn.layers import (
    Dense,
    DenseParams,
    Embed,
    EmbedParams,
    LayerNorm,
    LayerNormParams,
)
from jrnn.types import Layer, Params


class Converted(tuple[Layer, Params]):
    """A layer and its parameters.

    The layer takes and returns [batch, time, features], even if the model
    does not.

    Attributes:
      layer: The first entry.
      params: The second entry.
      time_major: Whether the input of the model is [time, batch, features], as that of
        PyTorch without `batch_first`; None if no layer depends on time.
    """

    time_major: bool | None

    def __new__(cls, layer: Layer, params: Params, time_major: bool | None) -> Self:
        made = super().__new__(cls, (layer, params))
        made.time_major = time_major
        return made

    @property
    def layer(self) -> Layer:
        return self[0]

    @property
    def params(self) -> Params:
        return self[1]


def from_model(model: onnx.ModelProto) -> Converted:
    """Builds a layer and its parameters from an ONNX model.

    The path from the model's input to its first output may contain RNN, LSTM, GRU,
    MatMul, Add, Gemm, Gather of a table, LayerNormalization, Dropout, and nodes that
    move axes, join or pick directions, or pick the last step. The files of PyTorch's
    present exporter and of its older one consist of these.

    The layer takes and returns [batch, time, features], for any order of axes in the
    model. If the model reads [time, batch, features], the result has
    `time_major=True`: swap the first two axes of its data, and of its outputs. Lengths
    and initial states are arguments of `apply`, even if the model has no such inputs.

    Args:
      model: What `onnx.load` or `to_model` returns.

    Returns:
      The layer, a `Sequential` if there are several, and its parameters: a pair with
      the attributes `layer`, `params` and `time_major`. Two biases remain separate. For
      a model that ends with `Y_h` or its last step, the layer returns only its last
      output.

    Raises:
      ValueError: if no layer of jrnn computes a node of the path.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import onnx
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4, separate_biases=True), merge="sum")
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> onnx.from_model(onnx.to_model(layer, params))[0] == layer
      True
    """
    graph = Graph(model.graph)
    expect(len(model.graph.output) > 0, "the model has no output.")
    _check_recurrence({node.op_type for node in model.graph.node})
    path, source = graph.path(model.graph.output[0].name)
    reader = _Reader(graph, source)
    for step in path:
        reader.visit(step)
    return reader.result()


def _check_recurrence(kinds: set[str]) -> None:
    """Raises if a graph computes a recurrence without an operator for it."""
    looped = kinds & {"Loop", "Scan"}
    expect(
        bool(kinds & RECURRENT) or not looped,
        "the graph computes its recurrence in the body of a "
        f"{', '.join(sorted(looped))}, as tf2onnx does for `SimpleRNN` and jax2onnx "
        "for every scan, and not by an "
        "RNN, GRU or LSTM. Convert the weights of the original model instead.",
    )
    unrolled = kinds & {"Tanh", "Relu"} and kinds & {"MatMul", "Gemm"}
    expect(
        bool(kinds & RECURRENT) or not unrolled,
        "the graph has no RNN, GRU or LSTM. PyTorch's present exporter unrolls "
        "`torch.nn.RNN` into MatMul, Slice, Add and Tanh for each step. Export it with "
        "`dynamo=False`, or convert its weights by "
        "`jrnn.interop.torch.from_state_dict`.",
    )


class _Reader(Moves):
    """Builds layers from the nodes of a path."""

    def __init__(self, graph: Graph, source: str):
        super().__init__(graph, source)
        self.readers |= {
            "Add": self.add,
            "Gather": self.look_up,
            "Gemm": self.dense,
            "LayerNormalization": self.norm,
            "MatMul": self.dense,
            **dict.fromkeys(operators.GATE_COUNTS, self.recurrent),
        }

    def recurrent(self, step: Step, how: dict[str, Any]) -> None:
        node, output = step.node, step.output
        how.pop("output_sequence", None)  # an attribute in opset 1
        batch_first = how.pop("layout", 0) == 1
        self.features(node)
        expect(
            len(self.axes) == 3,
            f"{node.op_type} must read three axes, got {self.axes}.",
        )
        order = tuple(self.axes[1::-1] if batch_first else self.axes[:2])
        expect(
            self.order in (None, order),
            "all layers must have the same axis of time, but one has another.",
        )
        self.order = time, batch = order[0], order[1]
        names = [*node.input, *[""] * (8 - len(node.input))]
        arrays = {"W": self.graph.needed(node, 1), "R": self.graph.needed(node, 2)}
        arrays |= {
            key: self.graph.needed(node, index)
            for key, index in {"B": 3, "P": 7}.items()
            if names[index]
        }
        if names[4]:
            self.graph.given(names[4], "sequence_lens", fixed=False)
        for index in (5, 6):
            self.graph.given(names[index], f"input {index} of {node.op_type}")
        found = operators.Operator(node.op_type, how, arrays)
        layer, params = operators.from_operator(found)
        expect(output < 2, f"the output {node.output[output]!r} must not be a memory.")
        if output == 1:
            layer = stacks.last_outputs(layer)
        sequence = [batch, time, "d", "f"] if batch_first else [time, "d", batch, "f"]
        last = [batch, "d", "f"] if batch_first else ["d", batch, "f"]
        self.axes = last if output else sequence
        self.append(layer, params)
        self.sizes |= {"d": arrays["W"].shape[0], "f": arrays["R"].shape[-1]}

    def dense(self, step: Step, how: dict[str, Any]) -> None:
        node = step.node
        self.features(node)
        plain = how.get("alpha", 1) == how.get("beta", 1) == 1 and not how.get("transA")
        first = self.graph.constant(node.input[0]) is None
        expect(plain and first, f"{node.op_type} must compute `x w + b`.")
        w = to_array("w", self.graph.needed(node, 1))
        expect(
            w.ndim == 2,
            f"the weights of {node.op_type} must be a matrix, got {list(w.shape)}.",
        )
        w = w.T if how.get("transB") else w
        self.append(Dense(w.shape[1], bias=False), DenseParams(w, None))
        self.sizes["f"] = w.shape[1]
        if len(node.input) > 2:
            self.bias(self.graph.needed(node, 2))

    def add(self, step: Step, how: dict[str, Any]) -> None:
        if step.branches:
            self.joined(step, how)
            return
        constants = (self.graph.constant(name) for name in step.node.input)
        self.bias(next(array for array in constants if array is not None))

    def bias(self, b: np.ndarray) -> None:
        """Adds a bias to the last dense layer."""
        last = self.layers[-1] if self.layers else None
        bare = isinstance(last, Dense) and not last.bias
        expect(bare, "an Add of a constant must follow a MatMul with weights.")
        w = self.params[-1].w
        check_shape("The bias", to_array("b", b), w.shape[1:])
        self.layers[-1] = Dense(w.shape[1])
        self.params[-1] = DenseParams(w, to_array("b", b))

    def look_up(self, step: Step, how: dict[str, Any]) -> None:
        table = self.graph.constant(step.node.input[0])
        if table is None:
            self.gather(step, how)
            return
        rows = table.ndim == 2 and how.get("axis", 0) == 0
        expect(
            rows and "f" not in self.axes,
            "Gather must look up rows of a constant table.",
        )
        array = to_array("table", table)
        self.append(Embed(*array.shape), EmbedParams(array))
        self.axes = [*self.axes, "f"]
        self.sizes["f"] = array.shape[1]

    def norm(self, step: Step, how: dict[str, Any]) -> None:
        node, output = step.node, step.output
        self.features(node)
        last = how.get("axis", -1) in (-1, len(self.axes) - 1)
        expect(
            last and output == 0,
            "LayerNormalization must normalize the features, the last axis.",
        )
        scale = to_array("scale", self.graph.needed(node, 1))
        given = len(node.input) > 2 and node.input[2]
        shift = to_array("shift", self.graph.needed(node, 2)) if given else scale * 0
        layer = LayerNorm(float(how.get("epsilon", 1e-5)))
        self.append(layer, LayerNormParams(scale, jnp.asarray(shift)))

    def features(self, node: Any) -> None:
        """Raises unless the last axis is features and no axis is directions."""
        expect(
            self.axes[-1] == "f" and "d" not in self.axes,
            f"{node.op_type} must read [.., .., features], got the axes {self.axes}.",
        )
        self.settle()

    def result(self) -> Converted:
        """Returns what the path computes."""
        expect(bool(self.layers), "the path from input to output contains no layer.")
        expect(
            "unit" not in self.axes,
            f"the output must not keep the axis of one step, got {self.axes}.",
        )
        self.settle()
        layer, params = stacks.stacked(self.layers, self.params)
        major = None if self.order is None else self.order[0] == 0
        return Converted(layer, params, major)

    def append(self, layer: Layer, params: Params) -> None:
        self.layers.append(layer)
        self.params.append(params)
