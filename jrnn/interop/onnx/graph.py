"""The graph of an ONNX model, and the path through it from input to output."""

from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.reference

from jrnn.interop.onnx.expect import expect

_MOVES = {"Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze"}
_MOVES |= {"Cast", "Expand", "Transpose", "Unsqueeze"}
MAX_SIZE = 1 << 28  # elements of a computed constant, which joins can double
_TWO_SIDED = {"Add", "Gather", "MatMul"}  # either of two inputs may be constant
_JOINS = {"Add", "Concat", "Mul"}  # nodes that may join both directions
RECURRENT = {"RNN", "GRU", "LSTM"}


class Step(NamedTuple):
    """One node of a path.

    Attributes:
      node: The node.
      output: The index of its output that is on the path.
      entry: The entry that a `Gather` picks, if it is not that of its own input.
      branches: For a node that joins directions, the steps from the operator to each
        of its inputs.
    """

    node: Any
    output: int
    entry: int | None = None
    branches: tuple[tuple["Step", ...], ...] = ()


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

    def path(self, name: str) -> tuple[list[Step], str]:
        """Returns the steps from an input of the model to a tensor, and that input."""
        found: list[Step] = []
        while name not in self.inputs:
            step, name = self._step(name)
            expect(len(found) < len(self.makers), "the graph has a cycle.")
            found.append(step)
        return found[::-1], name

    def axes_of_input(self, name: str) -> tuple[list[Any], dict[Any, int | None]]:
        """Returns the axes of an input, and the sizes of those that are fixed.

        The axes are 0 and 1, and "f" for features unless the input is ids.
        """
        kind = self.inputs[name]
        ids = kind.elem_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
        known = kind.HasField("shape")
        rank = len(kind.shape.dim) if known else 3 - ids
        axes = list(range(rank)) if ids else [*range(rank - 1), "f"]
        sizes = [
            each.dim_value if each.HasField("dim_value") else None
            for each in (kind.shape.dim if known else ())
        ]
        return axes, dict(zip(axes, sizes, strict=False))

    def _step(self, name: str, *, inside: bool = False) -> tuple[Step, str]:
        """Returns the step that computes a tensor, and the name of its input.

        Args:
          name: The tensor.
          inside: Whether it is on a branch. A branch must not contain branches.
        """
        expect(name in self.makers, f"no node computes {name!r}.")
        node = self.makers[name]
        output = list(node.output).index(name)
        data = [each for each in node.input if each and self.constant(each) is None]
        if node.op_type in _JOINS and len(data) == len(node.input) > 1:
            expect(not inside, f"{node.op_type} must join directions only once.")
            return self._branches(node, data)
        index, source = self._picked(node)
        return Step(node, output, index), source or self.source(node)

    def _branches(self, node: Any, names: list[str]) -> tuple[Step, str]:
        """Returns the step that joins tensors made from one recurrent operator."""
        branches, ends = [], set()
        for name in names:
            steps: list[Step] = []
            while True:
                maker = self.makers.get(name)
                single = maker is not None and maker.op_type in _MOVES | RECURRENT
                expect(
                    single and len(steps) < len(self.makers),
                    f"{node.op_type} must join directions of one recurrent operator, "
                    f"got {names}. A layer is a single path.",
                )
                if maker is not None and maker.op_type in RECURRENT:
                    break
                step, name = self._step(name, inside=True)
                steps.append(step)
            ends.add(name)
            branches.append(tuple(steps[::-1]))
        expect(
            len(ends) == 1,
            f"{node.op_type} must join directions of one recurrent operator, got those "
            f"of {sorted(ends)}. A layer is a single path.",
        )
        return Step(node, 0, None, tuple(branches)), ends.pop()

    def _picked(self, node: Any) -> tuple[int | None, str]:
        """Returns which final state a node picks from those of several layers.

        PyTorch's exporter concatenates the final states of all layers, and `h[-1]` is
        a `Gather` from all of them.

        Returns:
          The index in the final states of one operator, and their name; None and "" if
          the node is not such a `Gather`.
        """
        joined = self.makers.get(node.input[0]) if node.input else None
        if node.op_type != "Gather" or joined is None or joined.op_type != "Concat":
            return None, ""
        index = self.constant(node.input[1])
        makers = [self.makers.get(each) for each in joined.input]
        axes = attributes_of(node).get("axis", 0), attributes_of(joined)["axis"]
        known = all(each is not None and each.op_type in RECURRENT for each in makers)
        if index is None or index.ndim or axes != (0, 0) or not known:
            return None, ""
        places = [
            (side, name)
            for name, maker in zip(joined.input, makers, strict=True)
            for side in range(
                1 + (attributes_of(maker).get("direction") == "bidirectional")
            )
        ]
        expect(
            -len(places) <= int(index) < len(places),
            f"Gather must pick one of {len(places)} states, got {int(index)}.",
        )
        return places[int(index)]

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


def attributes_of(node: Any) -> dict[str, Any]:
    """Returns the attributes of a node by name."""
    pairs = ((a.name, onnx.helper.get_attribute_value(a)) for a in node.attribute)
    return {name: attribute_value(each) for name, each in pairs}


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
