"""The graph of an ONNX model, and the path through it from input to output."""

from typing import Any

import numpy as np
import onnx
import onnx.reference

from jrnn.interop.onnx.expect import expect

_MOVES = {"Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze"}
_MOVES |= {"Cast", "Expand", "Transpose", "Unsqueeze"}
MAX_SIZE = 1 << 28  # elements of a computed constant, which joins can double
_TWO_SIDED = {"Add", "Gather", "MatMul"}  # either of two inputs may be constant


class Graph:
    """The tensors of a graph by name, their nodes and their constant values."""

    def __init__(self, graph: Any):
        self.arrays = {each.name: each for each in graph.initializer}
        self.known: dict[str, np.ndarray | None] = {}  # results of `constant`
        self.makers = {name: node for node in graph.node for name in node.output}
        self.inputs = {
            each.name: each.type.tensor_type
            for each in graph.input
            if each.name not in self.arrays
        }

    def path(self, name: str) -> tuple[list[tuple[Any, int]], list[Any]]:
        """Returns the nodes from the input to a tensor, and the axes of the input.

        Each node comes with the index of its output that is on the path.
        """
        found: list[tuple[Any, int]] = []
        while name not in self.inputs:
            expect(name in self.makers, f"no node computes {name!r}.")
            expect(len(found) < len(self.makers), "the graph has a cycle.")
            node = self.makers[name]
            found.append((node, list(node.output).index(name)))
            name = self.source(node)
        kind = self.inputs[name]
        ids = kind.elem_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
        rank = len(kind.shape.dim) if kind.HasField("shape") else 3 - ids
        axes = list(range(rank)) if ids else [*range(rank - 1), "f"]
        return found[::-1], axes

    def source(self, node: Any) -> str:
        """Returns the input of a node that is not constant."""
        names = list(node.input)
        if node.op_type not in _TWO_SIDED:
            expect(bool(names), f"{node.op_type} has no input.")
            return names[0]
        data = [name for name in names if self.constant(name) is None]
        expect(
            len(data) == 1,
            f"{node.op_type} must have one input that is not constant, got {data}. A "
            "layer is a single path.",
        )
        return data[0]

    def constant(self, name: str, above: tuple[str, ...] = ()) -> np.ndarray | None:
        """Returns a tensor that does not depend on the inputs; None if it does.

        Args:
          name: Its name.
          above: Names of the tensors that are computed from it.
        """
        expect(name not in above, "the graph has a cycle.")
        if name not in self.known:
            self.known[name] = self._constant(name, (*above, name))
        return self.known[name]

    def _constant(self, name: str, above: tuple[str, ...]) -> np.ndarray | None:
        if name in self.arrays:
            held = self.arrays[name]
            inside = held.data_location != onnx.TensorProto.EXTERNAL
            expect(inside, f"{name!r} is in another file. Read it with `onnx.load`.")
            return onnx.numpy_helper.to_array(held)
        node = self.makers.get(name)
        if node is None or node.op_type not in _MOVES - {"Expand"} | {"Constant"}:
            return None
        feeds: dict[str, np.ndarray] = {}
        for each in filter(None, node.input):
            array = self.constant(each, above)
            if array is None:
                return None
            feeds[each] = array
        size = sum(feeds[each].size for each in filter(None, node.input))
        expect(
            size <= MAX_SIZE,
            f"{name!r} must have at most {MAX_SIZE} elements, got {size}.",
        )
        values: Any = onnx.reference.ReferenceEvaluator(node).run(None, feeds)
        return np.asarray(values[list(node.output).index(name)])

    def needed(self, node: Any, index: int) -> np.ndarray:
        """Returns a required constant input."""
        name = node.input[index] if index < len(node.input) else ""
        array = self.constant(name)
        expect(
            array is not None,
            f"input {index} of {node.op_type} must be constant, got {name!r}.",
        )
        return np.asarray(array)

    def given(self, name: str, what: str, *, fixed: bool = True) -> None:
        """Raises unless an optional input is missing or comes from the caller.

        Args:
          name: The name of the tensor, or "".
          what: Its meaning, for error messages.
          fixed: Whether it may also be a constant zero.
        """
        array = self.constant(name) if name else np.zeros(())
        node = self.makers.get(name)
        if array is not None:
            zero = fixed and not np.any(array)
            expect(zero, f"{what} is constant, but is an argument of `apply` in jrnn.")
        elif node is not None and node.op_type == "ConstantOfShape":
            values = [attribute_value(a.t) for a in node.attribute]
            expect(not any(map(np.any, values)), f"{what} is constant and not zero.")
        elif name not in self.inputs:
            expect(node is not None, f"no node computes {name!r}.")
            moves = node is not None and node.op_type in _MOVES
            expect(
                moves, f"{what} must be an input of the model, got a computed value."
            )
            sources = node.input if node.op_type == "Concat" else node.input[:1]  # type: ignore[union-attr]
            for each in sources:
                self.given(each, what, fixed=fixed)


def attribute_value(value: Any) -> Any:
    """Returns the value of an attribute: bytes as text, tensors as arrays.

    ONNX stores floats as float32. Each becomes the shortest decimal that rounds to it.
    """
    if isinstance(value, float):
        return float(str(np.float32(value)))
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, list):
        return [attribute_value(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value
