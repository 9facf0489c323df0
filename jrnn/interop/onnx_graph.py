"""The graph of an ONNX model, as the path that its data take."""

from typing import Any

import numpy as np
import onnx
import onnx.reference

from jrnn.interop.onnx_cells import expect

_MOVES = {"Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze"}
_MOVES |= {"Cast", "Expand", "Transpose", "Unsqueeze"}
MAX_SIZE = 1 << 28  # of what is made from constants: joins could double and double
_TWO_SIDED = {"Add", "Gather", "MatMul"}  # the data is whichever input is no constant


class Graph:
    """Tensors by name: what makes them, and which of them are constants."""

    def __init__(self, graph: Any):
        self.arrays = {each.name: each for each in graph.initializer}
        self.known: dict[str, np.ndarray | None] = {}  # constants found so far
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
            expect(name in self.makers, f"nothing computes {name!r}.")
            expect(len(found) < len(self.makers), "the graph runs in a circle.")
            node = self.makers[name]
            found.append((node, list(node.output).index(name)))
            name = self.source(node)
        kind = self.inputs[name]
        ids = kind.elem_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
        rank = len(kind.shape.dim) if kind.HasField("shape") else 3 - ids
        axes = list(range(rank)) if ids else [*range(rank - 1), "f"]
        return found[::-1], axes

    def source(self, node: Any) -> str:
        """Returns the input of a node that is neither weights nor options."""
        names = list(node.input)
        if node.op_type not in _TWO_SIDED:
            expect(bool(names), f"{node.op_type} has no input.")
            return names[0]
        data = [name for name in names if self.constant(name) is None]
        expect(len(data) == 1, f"{node.op_type} joins {data}; layers are one path.")
        return data[0]

    def constant(self, name: str, above: tuple[str, ...] = ()) -> np.ndarray | None:
        """Returns a tensor that no input changes; None for any other.

        `above` are the tensors that it is needed for.
        """
        expect(name not in above, "the graph runs in a circle.")
        if name not in self.known:
            self.known[name] = self._constant(name, (*above, name))
        return self.known[name]

    def _constant(self, name: str, above: tuple[str, ...]) -> np.ndarray | None:
        if name in self.arrays:
            held = self.arrays[name]
            inside = held.data_location != onnx.TensorProto.EXTERNAL
            expect(inside, f"{name!r} is in another file; use `onnx.load`.")
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
        expect(size <= MAX_SIZE, f"{name!r} is joined to more than {MAX_SIZE} numbers.")
        values: Any = onnx.reference.ReferenceEvaluator(node).run(None, feeds)
        return np.asarray(values[list(node.output).index(name)])

    def needed(self, node: Any, index: int) -> np.ndarray:
        """Returns an input that must be there and constant."""
        name = node.input[index] if index < len(node.input) else ""
        array = self.constant(name)
        expect(array is not None, f"input {index} of {node.op_type} is no constant.")
        return np.asarray(array)

    def given(self, name: str, what: str, *, fixed: bool = True) -> None:
        """Raises unless an optional input is left to the caller, or zero if `fixed`."""
        array = self.constant(name) if name else np.zeros(())
        node = self.makers.get(name)
        if array is not None:
            zero = fixed and not np.any(array)
            expect(zero, f"{what} is a constant; here it is an argument of `apply`.")
        elif node is not None and node.op_type == "ConstantOfShape":
            values = [text(a.t) for a in node.attribute]
            expect(not any(map(np.any, values)), f"{what} is a constant, not zero.")
        elif name not in self.inputs:
            expect(node is not None, f"nothing computes {name!r}.")
            moves = node is not None and node.op_type in _MOVES
            expect(moves, f"{what} is computed by the model, not given.")
            sources = node.input if node.op_type == "Concat" else node.input[:1]  # type: ignore[union-attr]
            for each in sources:
                self.given(each, what, fixed=fixed)


def text(value: Any) -> Any:
    """Returns an attribute's value: bytes as text, tensors as arrays.

    Numbers are stored as float32; the shortest that rounds to one is what was meant.
    """
    if isinstance(value, float):
        return float(str(np.float32(value)))
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, list):
        return [text(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value
