"""Builds an ONNX model from a layer, with one operator per recurrent layer."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx

from jrnn.interop.common import stacks
from jrnn.interop.onnx import operators
from jrnn.interop.onnx.expect import expect
from jrnn.layers import (
    Bidirectional,
    Dense,
    Dropout,
    Embed,
    LayerNorm,
    Recurrent,
    Sequential,
)
from jrnn.types import Layer, Params

OPSET = 18
_MERGES = {"sum": "ReduceSum", "mean": "ReduceMean", "mul": "ReduceProd"}


class _Data(NamedTuple):
    """A tensor of the graph, with one letter per axis: batch, time, features."""

    name: str
    axes: str


def to_model(
    layer: Layer,
    params: Params,
    *,
    lengths: bool = False,
    state: bool = False,
    layout: int = 0,
) -> onnx.ModelProto:
    """Returns an ONNX model that computes `layer.apply` in evaluation.

        ys, final.* = model(xs, lengths, state.*)

    `xs` and `ys` are [batch, time, features]; ids [batch, time] are int64. Leaves of
    the state, [batch, H], have names such as `state.0.h`. Each recurrent layer becomes
    one operator and not a loop.

    Args:
      layer: `Recurrent`, `Bidirectional`, `Dense`, `Embed`, `LayerNorm`, or a
        `Sequential` of these. `Dropout` in it is ignored.
      params: Its parameters, all of one dtype.
      lengths: Whether the model has the input `lengths`, int32 [batch].
      state: Whether it takes the initial state and returns the final one.
      layout: The attribute of recurrent operators. 0 is time first, with a transpose
        before and after. 1 is batch first, which onnxruntime cannot run.

    Returns:
      A model of opset 18 that passes the checks of the `onnx` package.
      `model.SerializeToString()` returns its bytes.

    Raises:
      ValueError: if ONNX has no operator that computes a layer.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import onnx
      >>> layer = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(4)), jrnn.Dense(2))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> model = onnx.to_model(layer, params, lengths=True)
      >>> [node.op_type for node in model.graph.node]
      ['Transpose', 'LSTM', 'Squeeze', 'MatMul', 'Add', 'Transpose', 'Identity']
      >>> again, weights = onnx.from_model(model)
      >>> again.layers[0].cell.hidden_size
      4
    """
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(params)}
    expect(
        len(dtypes) == 1,
        f"params must have one dtype, got {sorted(map(str, dtypes))}. Cast them.",
    )
    expect(layout in (0, 1), f"layout must be 0 or 1, got {layout!r}.")
    graph = _Graph(dtypes.pop(), lengths, state, layout)
    layers = list(_flat(layer, params))
    data = graph.source(*next(entry for entry in layers if entry[1] != ())[:2])
    for each, own, prefix in layers:
        data = _emit(graph, each, own, prefix, data)
    return graph.finish(data, layer.output_size)


def _flat(layer: Any, params: Any, prefix: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Yields each layer of nested stacks, its params and the prefix of its states."""
    if not isinstance(layer, Sequential):
        yield layer, params, prefix
        return
    for index, (each, own) in enumerate(zip(layer.layers, params, strict=True)):
        yield from _flat(each, own, f"{prefix}{index}.")


def _emit(graph: "_Graph", layer: Any, params: Any, prefix: str, data: _Data) -> _Data:
    """Adds the nodes of one layer, and returns its output."""
    if isinstance(layer, Recurrent | Bidirectional):
        return _recurrent(graph, layer, params, prefix, data)
    if isinstance(layer, Dense):
        name = graph.node("MatMul", [data.name, graph.constant(params.w)])
        if params.b is not None:
            name = graph.node("Add", [name, graph.constant(params.b)])
        return data._replace(name=name)
    if isinstance(layer, Embed):
        table = graph.constant(params.table)
        return _Data(graph.node("Gather", [table, data.name]), data.axes + "f")
    if isinstance(layer, LayerNorm):
        arrays = [graph.constant(array) for array in params]
        how = {"axis": -1, "epsilon": layer.epsilon}
        return data._replace(
            name=graph.node("LayerNormalization", [data.name, *arrays], **how)
        )
    expect(
        isinstance(layer, Dropout),
        f"no operator that can be read back computes {layer!r}. Convert the layers "
        "inside of it.",
    )
    return data


def _recurrent(
    graph: "_Graph", layer: Any, params: Any, prefix: str, data: _Data
) -> _Data:
    both = isinstance(layer, Bidirectional)
    merge = layer.merge if both else "concat"
    expect(
        merge is not None,
        "merge must be a name, got None, which returns a pair of sequences. Use "
        "merge='concat'.",
    )
    operator = operators.to_operator(layer, params)
    whole = stacks.sides(layer)[0].return_sequence  # of both, or the layer is refused
    batch_first = graph.layout == 1
    data = graph.arrange(data, "btf" if batch_first else "tbf")
    memory = operator.op_type == "LSTM"
    sides = ["forward.", "backward."] if both else [""]
    size = operator.attributes["hidden_size"]
    leaves = ["h", "c"] if memory else ["h"]
    arrays = {name: graph.constant(array) for name, array in operator.arrays.items()}
    inputs = [data.name, arrays["W"], arrays["R"], arrays.get("B", ""), graph.lengths]
    if graph.state:
        inputs += [
            graph.join([f"state.{prefix}{side}{leaf}" for side in sides], size)
            for leaf in leaves
        ]
    if "P" in arrays:
        inputs += [""] * (7 - len(inputs)) + [arrays["P"]]
    while not inputs[-1]:
        inputs.pop()
    attributes = operator.attributes | ({"layout": 1} if batch_first else {})
    ys, *finals = graph.nodes(operator.op_type, inputs, 1 + len(leaves), **attributes)
    if graph.state:
        for leaf, final in zip(leaves, finals, strict=True):
            names = [f"final.{prefix}{side}{leaf}" for side in sides]
            graph.split(final, names, size)
    if whole:
        apart = _Data(ys, "btdf" if batch_first else "tdbf")
    else:
        apart = _Data(finals[0], "bdf" if batch_first else "dbf")
    return _merged(graph, apart, merge if both else None)


def _merged(graph: "_Graph", data: _Data, merge: str | None) -> _Data:
    """Removes the axis of directions, d, by merging them."""
    at = data.axes.index("d")
    rest = data.axes.replace("d", "")
    if merge != "concat":
        how = {} if merge is None else {"keepdims": 0}
        op_type = "Squeeze" if merge is None else _MERGES[merge]
        return _Data(graph.node(op_type, [data.name, graph.integers(at)], **how), rest)
    last = graph.arrange(data, rest[:-1] + "df")
    shape = graph.integers(*[0] * (len(rest) - 1), -1)
    return _Data(graph.node("Reshape", [last.name, shape]), rest)


class _Graph:
    """Collects the nodes, constants, inputs and outputs of a graph."""

    def __init__(self, dtype: Any, lengths: bool, state: bool, layout: int):
        self.type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.lengths = "lengths" if lengths else ""
        self.state, self.layout = state, layout
        self.body: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def source(self, layer: Any, params: Any) -> _Data:
        """Adds the input that the first layer reads, and returns it."""
        tensor = onnx.helper.make_tensor_value_info
        shape: list[Any] = ["batch", "time"]
        if isinstance(layer, Embed):
            self.inputs.append(tensor("xs", onnx.TensorProto.INT64, shape))
        else:
            _, own = (
                stacks.directions(layer, params)[0]
                if _is_recurrent(layer)
                else (None, params)
            )
            features = jax.tree.leaves(own)[0].shape[0]
            self.inputs.append(tensor("xs", self.type, [*shape, features]))
        if self.lengths:
            self.inputs.append(tensor("lengths", onnx.TensorProto.INT32, ["batch"]))
        return _Data("xs", "bt" if isinstance(layer, Embed) else "btf")

    def nodes(self, op_type: str, inputs: list[str], count: int, **how: Any) -> Any:
        names = [f"{op_type}_{len(self.body)}_{i}" for i in range(count)]
        self.body.append(onnx.helper.make_node(op_type, inputs, names, **how))
        return names

    def node(self, op_type: str, inputs: list[str], **how: Any) -> str:
        return self.nodes(op_type, inputs, 1, **how)[0]

    def constant(self, array: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def integers(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def arrange(self, data: _Data, axes: str) -> _Data:
        """Returns the tensor with its axes in this order."""
        if data.axes == axes:
            return data
        expect(
            set(data.axes) == set(axes),
            f"a layer that needs the axes {axes!r} follows a recurrent layer that "
            f"returns only its last output, {data.axes!r}. Use `return_sequence=True` "
            "in that layer.",
        )
        order = [data.axes.index(axis) for axis in axes]
        return _Data(self.node("Transpose", [data.name], perm=order), axes)

    def join(self, names: list[str], size: int) -> str:
        """Adds inputs [batch, H], and joins them along the axis of directions."""
        tensor = onnx.helper.make_tensor_value_info
        self.inputs += [tensor(name, self.type, ["batch", size]) for name in names]
        at = self.integers(self.layout)
        wide = [self.node("Unsqueeze", [name, at]) for name in names]
        return (
            wide[0] if len(wide) == 1 else self.node("Concat", wide, axis=self.layout)
        )

    def split(self, source: str, names: list[str], size: int) -> None:
        """Adds one output [batch, H] per direction."""
        for index, name in enumerate(names):
            at = self.constant(np.array(index, np.int64))
            node = onnx.helper.make_node(
                "Gather", [source, at], [name], axis=self.layout
            )
            self.body.append(node)
            tensor = onnx.helper.make_tensor_value_info
            self.outputs.append(tensor(name, self.type, ["batch", size]))

    def finish(self, data: _Data, size: int | None) -> onnx.ModelProto:
        """Returns the model after it passed the checks of the `onnx` package."""
        axes = "btf" if "t" in data.axes else "bf"
        data = self.arrange(data, axes)
        self.body.append(onnx.helper.make_node("Identity", [data.name], ["ys"]))
        sizes: dict[str, Any] = {"b": "batch", "t": "time", "f": size or "features"}
        shape = [sizes[axis] for axis in axes]
        ys = onnx.helper.make_tensor_value_info("ys", self.type, shape)
        outputs = [ys, *self.outputs]
        graph = onnx.helper.make_graph(
            self.body, "jrnn", self.inputs, outputs, self.constants
        )
        versions = [onnx.helper.make_opsetid("", OPSET)]
        model = onnx.helper.make_model(
            graph,
            opset_imports=versions,
            producer_name="jrnn",
            ir_version=onnx.helper.find_min_ir_version_for(versions),
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _is_recurrent(layer: Any) -> bool:
    return isinstance(layer, Recurrent | Bidirectional)
