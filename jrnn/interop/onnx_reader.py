"""Reads an ONNX model as a layer: the path from its input to its first output."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import onnx

from jrnn.interop import layouts, onnx_operators, stacks
from jrnn.interop.onnx_cells import expect
from jrnn.interop.onnx_graph import Graph, text
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

    Followed is the path from the model's input to its first output, which may go
    through RNN, LSTM, GRU, MatMul, Add, Gemm, Gather of a table, LayerNormalization,
    Dropout, and what moves axes in between. The layer takes [batch, time, features] and
    returns the same, whatever order the model has; lengths and initial states are
    arguments of `apply`, whether or not the model has such inputs.

    Args:
      model: From `onnx.load` or `to_model`.

    Returns:
      The layer, a `Sequential` if there are several; and its parameters. Two biases
      stay two. A model that ends with `Y_h` returns its last output alone.

    Raises:
      ValueError: if the model computes anything that a layer of jrnn does not.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import onnx
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4, bias="double"), merge="sum")
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
    expect(bool(reader.layers), "there is no layer between the input and the output.")
    return stacks.stacked(reader.layers, reader.params)


class _Reader:
    """Layers read so far, and what each axis of the tensor at hand stands for.

    Axes are 0 and 1 for those of the input, "f" for features and "d" for directions.
    """

    def __init__(self, graph: Graph, axes: list[Any]):
        self.graph, self.axes = graph, axes
        self.order: tuple[Any, ...] | None = None  # which axes are time and batch
        self.layers: list[Any] = []
        self.params: list[Any] = []

    def visit(self, node: Any, output: int) -> None:
        """Goes through one node."""
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
            **dict.fromkeys(onnx_operators.GATES, self.recurrent),
            **dict.fromkeys(_MERGES, self.merge),
        }
        standard = node.domain in ("", "ai.onnx") and node.op_type in readers
        expect(standard, f"{node.domain} {node.op_type} is no part of a layer.")
        pairs = ((a.name, onnx.helper.get_attribute_value(a)) for a in node.attribute)
        readers[node.op_type](node, output, {name: text(each) for name, each in pairs})

    def recurrent(self, node: Any, output: int, how: dict[str, Any]) -> None:
        how.pop("output_sequence", None)  # of opset 1
        batch_first = how.pop("layout", 0) == 1
        self.features(node)
        expect(len(self.axes) == 3, f"{node.op_type} reads axes {self.axes}.")
        order = tuple(self.axes[1::-1] if batch_first else self.axes[:2])
        expect(self.order in (None, order), "layers take different axes for the time.")
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
        found = onnx_operators.Operator(node.op_type, how, arrays)
        layer, params = onnx_operators.from_operator(found)
        expect(output < 2, "the output is the memory, which no layer returns.")
        if output == 1:
            layer = dataclasses.replace(layer, return_sequence=False)  # type: ignore[type-var]
        sequence = [batch, time, "d", "f"] if batch_first else [time, "d", batch, "f"]
        last = [batch, "d", "f"] if batch_first else ["d", batch, "f"]
        self.axes = last if output else sequence
        self.append(layer, params)

    def dense(self, node: Any, output: int, how: dict[str, Any]) -> None:
        self.features(node)
        plain = how.get("alpha", 1) == how.get("beta", 1) == 1 and not how.get("transA")
        first = self.graph.constant(node.input[0]) is None
        expect(plain and first, f"{node.op_type} is no product `x w + b`.")
        w = layouts.array("w", self.graph.needed(node, 1))
        expect(w.ndim == 2, f"the kernel of {node.op_type} has shape {w.shape}.")
        w = w.T if how.get("transB") else w
        self.append(Dense(w.shape[1], bias=False), DenseParams(w, None))
        if len(node.input) > 2:
            self.bias(self.graph.needed(node, 2))

    def add(self, node: Any, output: int, how: dict[str, Any]) -> None:
        constants = (self.graph.constant(name) for name in node.input)
        self.bias(next(array for array in constants if array is not None))

    def bias(self, b: np.ndarray) -> None:
        """Completes the dense layer that was read last."""
        last = self.layers[-1] if self.layers else None
        bare = isinstance(last, Dense) and not last.bias
        expect(bare, "an addition follows no product with weights.")
        w = self.params[-1].w
        layouts.shape("the bias", layouts.array("b", b), w.shape[1:])
        self.layers[-1] = Dense(w.shape[1])
        self.params[-1] = DenseParams(w, layouts.array("b", b))

    def embed(self, node: Any, output: int, how: dict[str, Any]) -> None:
        table = self.graph.constant(node.input[0])
        rows = table is not None and table.ndim == 2 and how.get("axis", 0) == 0
        expect(rows and "f" not in self.axes, "Gather looks up no rows of a table.")
        array = layouts.array("table", table)
        self.append(Embed(*array.shape), EmbedParams(array))
        self.axes = [*self.axes, "f"]

    def norm(self, node: Any, output: int, how: dict[str, Any]) -> None:
        self.features(node)
        last = how.get("axis", -1) in (-1, len(self.axes) - 1)
        expect(last and output == 0, "LayerNormalization is not that of the features.")
        scale = layouts.array("scale", self.graph.needed(node, 1))
        given = len(node.input) > 2 and node.input[2]
        shift = (
            layouts.array("shift", self.graph.needed(node, 2)) if given else scale * 0
        )
        layer = LayerNorm(float(how.get("epsilon", 1e-5)))
        self.append(layer, LayerNormParams(scale, jnp.asarray(shift)))

    def keep(self, node: Any, output: int, how: dict[str, Any]) -> None:
        expect(output == 0, f"output {output} of {node.op_type} is no sequence.")

    def cast(self, node: Any, output: int, how: dict[str, Any]) -> None:
        expect("f" not in self.axes, "Cast changes the precision within the model.")

    def transpose(self, node: Any, output: int, how: dict[str, Any]) -> None:
        order = how.get("perm", range(len(self.axes))[::-1])
        self.axes = [self.axes[index] for index in order]

    def squeeze(self, node: Any, output: int, how: dict[str, Any]) -> None:
        both = bool(self.layers) and isinstance(self.layers[-1], Bidirectional)
        expect(self.at(node, how) == "d" and not both, "Squeeze removes what is used.")
        self.axes.remove("d")

    def merge(self, node: Any, output: int, how: dict[str, Any]) -> None:
        both = bool(self.layers) and isinstance(self.layers[-1], Bidirectional)
        fits = both and self.at(node, how) == "d" and how.get("keepdims", 1) == 0
        expect(fits, f"{node.op_type} merges no directions.")
        self.axes.remove("d")
        layer = self.layers[-1]
        self.layers[-1] = dataclasses.replace(layer, merge=_MERGES[node.op_type])

    def reshape(self, node: Any, output: int, how: dict[str, Any]) -> None:
        shape = self.graph.needed(node, 1).tolist()
        joins = self.axes[-2:] == ["d", "f"] and len(shape) == len(self.axes) - 1
        kept = joins and not any(shape[:-1]) and not how.get("allowzero")
        expect(kept, "Reshape does more than to join directions: [0, 0, -1].")
        self.axes.remove("d")

    def at(self, node: Any, how: dict[str, Any]) -> Any:
        """Returns what the one axis that a node names stands for."""
        named = how["axes"] if "axes" in how else self.graph.needed(node, 1).tolist()
        expect(len(named) == 1, f"{node.op_type} takes the axes {named}.")
        expect(-len(self.axes) <= named[0] < len(self.axes), "there is no such axis.")
        return self.axes[named[0]]

    def features(self, node: Any) -> None:
        """Raises unless the last axis, and no other, is that of features."""
        expect(
            self.axes[-1] == "f" and "d" not in self.axes,
            f"{node.op_type} reads the axes {self.axes}, not [.., .., features].",
        )

    def append(self, layer: Layer, params: Params) -> None:
        self.layers.append(layer)
        self.params.append(params)
