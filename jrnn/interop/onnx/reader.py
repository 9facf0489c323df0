"""Builds a layer from an ONNX model."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import onnx

from jrnn.interop.common import stacks
from jrnn.interop.common.foreign_arrays import check_shape, to_array
from jrnn.interop.onnx import operators
from jrnn.interop.onnx.expect import expect
from jrnn.interop.onnx.graph import Graph, attribute_value
from jrnn.layers import (
    Bidirectional,
    Dense,
    DenseParams,
    Embed,
    EmbedParams,
    LayerNorm,
    LayerNormParams,
)
from jrnn.types import Layer, Params

_MERGES = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceProd": "mul"}


def from_model(model: onnx.ModelProto) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from an ONNX model.

    The path from the model's input to its first output may contain RNN, LSTM, GRU,
    MatMul, Add, Gemm, Gather of a table, LayerNormalization, Dropout, and nodes that
    move axes. The layer takes and returns [batch, time, features], for any order of
    axes in the model. Lengths and initial states are arguments of `apply`, even if the
    model has no such inputs.

    Args:
      model: What `onnx.load` or `to_model` returns.

    Returns:
      The layer, a `Sequential` if there are several; and its parameters. Two biases
      remain separate. For a model that ends with `Y_h`, the layer returns only its last
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
    path, axes = graph.path(model.graph.output[0].name)
    reader = _Reader(graph, axes)
    for node, output in path:
        reader.visit(node, output)
    expect(bool(reader.layers), "the path from input to output contains no layer.")
    return stacks.stacked(reader.layers, reader.params)


class _Reader:
    """Builds layers from the nodes of a path.

    Attributes:
      layers: The layers so far.
      params: Their parameters.
      axes: The meaning of each axis of the current tensor: 0 and 1 for the first two
        axes of the input, "f" for features and "d" for directions.
      order: Which of the axes 0 and 1 are time and batch; None before the first
        recurrent layer.
    """

    def __init__(self, graph: Graph, axes: list[Any]):
        self.graph, self.axes = graph, axes
        self.order: tuple[Any, ...] | None = None
        self.layers: list[Any] = []
        self.params: list[Any] = []

    def visit(self, node: Any, output: int) -> None:
        """Adds the layer of one node, or moves the axes."""
        readers: dict[str, Any] = {
            "Add": self.add,
            "Cast": self.cast,
            "Dropout": self.keep,
            "Gather": self.embed,
            "Gemm": self.dense,
            "Identity": self.keep,
            "LayerNormalization": self.norm,
            "MatMul": self.dense,
            "Reshape": self.reshape,
            "Squeeze": self.squeeze,
            "Transpose": self.transpose,
            **dict.fromkeys(operators.GATE_COUNTS, self.recurrent),
            **dict.fromkeys(_MERGES, self.merge),
        }
        standard = node.domain in ("", "ai.onnx") and node.op_type in readers
        expect(
            standard,
            f"the nodes must be among {sorted(readers)}, got {node.domain} "
            f"{node.op_type}, which no layer contains.",
        )
        pairs = ((a.name, onnx.helper.get_attribute_value(a)) for a in node.attribute)
        options = {name: attribute_value(each) for name, each in pairs}
        readers[node.op_type](node, output, options)

    def recurrent(self, node: Any, output: int, how: dict[str, Any]) -> None:
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

    def dense(self, node: Any, output: int, how: dict[str, Any]) -> None:
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
        if len(node.input) > 2:
            self.bias(self.graph.needed(node, 2))

    def add(self, node: Any, output: int, how: dict[str, Any]) -> None:
        constants = (self.graph.constant(name) for name in node.input)
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

    def embed(self, node: Any, output: int, how: dict[str, Any]) -> None:
        table = self.graph.constant(node.input[0])
        rows = table is not None and table.ndim == 2 and how.get("axis", 0) == 0
        expect(
            rows and "f" not in self.axes,
            "Gather must look up rows of a constant table.",
        )
        array = to_array("table", table)
        self.append(Embed(*array.shape), EmbedParams(array))
        self.axes = [*self.axes, "f"]

    def norm(self, node: Any, output: int, how: dict[str, Any]) -> None:
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

    def keep(self, node: Any, output: int, how: dict[str, Any]) -> None:
        expect(
            output == 0,
            f"the path must use output 0 of {node.op_type}, got output {output}.",
        )

    def cast(self, node: Any, output: int, how: dict[str, Any]) -> None:
        expect(
            "f" not in self.axes,
            "Cast changes the dtype of features, which layers do not. Convert a model "
            "with one dtype.",
        )

    def transpose(self, node: Any, output: int, how: dict[str, Any]) -> None:
        order = how.get("perm", range(len(self.axes))[::-1])
        self.axes = [self.axes[index] for index in order]

    def squeeze(self, node: Any, output: int, how: dict[str, Any]) -> None:
        both = bool(self.layers) and isinstance(self.layers[-1], Bidirectional)
        expect(
            self.axis_of(node, how) == "d" and not both,
            "Squeeze must remove the axis of one direction.",
        )
        self.axes.remove("d")

    def merge(self, node: Any, output: int, how: dict[str, Any]) -> None:
        both = bool(self.layers) and isinstance(self.layers[-1], Bidirectional)
        fits = both and self.axis_of(node, how) == "d" and how.get("keepdims", 1) == 0
        expect(fits, f"{node.op_type} must merge both directions of a layer.")
        self.axes.remove("d")
        layer = self.layers[-1]
        self.layers[-1] = dataclasses.replace(layer, merge=_MERGES[node.op_type])

    def reshape(self, node: Any, output: int, how: dict[str, Any]) -> None:
        shape = self.graph.needed(node, 1).tolist()
        joins = self.axes[-2:] == ["d", "f"] and len(shape) == len(self.axes) - 1
        plain = joins and not any(shape[:-1]) and not how.get("allowzero")
        expect(
            plain,
            "Reshape must join both directions, with shape [0, 0, -1], got shape "
            f"{shape} for the axes {self.axes}.",
        )
        self.axes.remove("d")

    def axis_of(self, node: Any, how: dict[str, Any]) -> Any:
        """Returns the meaning of the axis that a node names."""
        named = how["axes"] if "axes" in how else self.graph.needed(node, 1).tolist()
        expect(len(named) == 1, f"{node.op_type} must name one axis, got {named}.")
        expect(
            -len(self.axes) <= named[0] < len(self.axes),
            f"{node.op_type} must name one of {len(self.axes)} axes, got {named[0]}.",
        )
        return self.axes[named[0]]

    def features(self, node: Any) -> None:
        """Raises unless the last axis is features and no axis is directions."""
        expect(
            self.axes[-1] == "f" and "d" not in self.axes,
            f"{node.op_type} must read [.., .., features], got the axes {self.axes}.",
        )

    def append(self, layer: Layer, params: Params) -> None:
        self.layers.append(layer)
        self.params.append(params)
