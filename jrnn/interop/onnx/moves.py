"""Nodes that move, join and pick axes, between the layers of an ONNX model."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jrnn.interop.common import stacks
from jrnn.interop.onnx import shapes
from jrnn.interop.onnx.expect import expect
from jrnn.interop.onnx.graph import Graph, Step, attributes_of
from jrnn.layers import Bidirectional, Dense, LayerNorm, Recurrent

MERGES = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceProd": "mul"}
JOINS = {"Concat": "concat", "Add": "sum", "Mul": "mul"}


class Moves:
    """What is known of the current tensor, and the layers so far.

    Attributes:
      layers: The layers so far.
      params: Their parameters.
      axes: The meaning of each axis: 0 and 1 for the first two axes of the input, "f"
        for features, "d" for directions and "unit" for time if one step was cut out.
      sizes: The size of each axis; None or missing if it is not fixed.
      axes_of: The axes of each tensor so far, by name.
      order: Which of the axes 0 and 1 are time and batch; None before the first
        recurrent layer.
      side: The direction that the tensor holds, 0 or 1; None for all.
      last: Whether the tensor holds only the last output of the direction `side`.
    """

    def __init__(self, graph: Graph, source: str):
        self.graph = graph
        self.axes, self.sizes = graph.axes_of_input(source)
        self.axes_of: dict[str, list[Any]] = {source: self.axes}
        self.order: tuple[Any, ...] | None = None
        self.side: int | None = None
        self.last = False
        self.layers: list[Any] = []
        self.params: list[Any] = []
        self.readers: dict[str, Callable[[Step, dict[str, Any]], None]] = {
            "Cast": self.cast,
            "Concat": self.joined,
            "Dropout": self.keep,
            "Gather": self.gather,
            "Identity": self.keep,
            "Mul": self.joined,
            "Reshape": self.reshape,
            "Slice": self.cut,
            "Split": self.split,
            "Squeeze": self.squeeze,
            "Transpose": self.transpose,
            **dict.fromkeys(MERGES, self.merge),
        }

    def visit(self, step: Step) -> None:
        """Adds the layer of one node, or moves the axes."""
        node = step.node
        standard = node.domain in ("", "ai.onnx") and node.op_type in self.readers
        expect(
            standard,
            f"the nodes must be among {sorted(self.readers)}, got {node.domain} "
            f"{node.op_type}, which no layer contains.",
        )
        self.axes = list(self.axes)
        self.readers[node.op_type](step, attributes_of(node))
        self.axes_of[node.output[step.output]] = self.axes

    def keep(self, step: Step, how: dict[str, Any]) -> None:
        expect(
            step.output == 0,
            f"the path must use output 0 of {step.node.op_type}, got output "
            f"{step.output}.",
        )

    def cast(self, step: Step, how: dict[str, Any]) -> None:
        expect(
            "f" not in self.axes,
            "Cast changes the dtype of features, which layers do not. Convert a model "
            "with one dtype.",
        )

    def transpose(self, step: Step, how: dict[str, Any]) -> None:
        order = how.get("perm", range(len(self.axes))[::-1])
        expect(
            sorted(order) == list(range(len(self.axes))),
            f"Transpose must permute {len(self.axes)} axes, got {list(order)}.",
        )
        self.axes = [self.axes[index] for index in order]

    def squeeze(self, step: Step, how: dict[str, Any]) -> None:
        axis = self.axes[self.axis_of(step.node, how)]
        one_way = axis == "d" and (self.side is not None or self.sizes["d"] == 1)
        expect(
            one_way or axis == "unit",
            "Squeeze must remove the axis of one direction or of one step, got "
            f"{axis!r} of {self.axes}.",
        )
        self.axes.remove(axis)

    def merge(self, step: Step, how: dict[str, Any]) -> None:
        node, axis = step.node, self.axes[self.axis_of(step.node, how)]
        both = axis == "d" and self.sizes["d"] == 2 and self.side is None
        expect(
            both and how.get("keepdims", 1) == 0,
            f"{node.op_type} must merge both directions of a layer.",
        )
        self.axes.remove("d")
        self.replace_last(merge=MERGES[node.op_type])

    def reshape(self, step: Step, how: dict[str, Any]) -> None:
        target = shapes.vector(self.graph, step.node.input[1], self.axes_of)
        known = self.sizes | {"unit": 1} | ({} if self.side is None else {"d": 1})
        zero = bool(how.get("allowzero"))
        after = shapes.join(self.axes, target, known, zero=zero)
        joined = "d" in self.axes and "d" not in after and known["d"] == 2
        if joined:
            self.sizes["f"] = 2 * (self.sizes["f"] or 0)
        self.axes = after

    def split(self, step: Step, how: dict[str, Any]) -> None:
        axis = how.get("axis", 0)
        parts = len(step.node.output)
        expect(
            self.label(axis) == "d" and parts == self.sizes["d"],
            f"Split must separate the directions of a layer, got {parts} parts of "
            f"{self.label(axis)!r}.",
        )
        self.pick(axis, step.output, remove=False)

    def cut(self, step: Step, how: dict[str, Any]) -> None:
        axis, kept = shapes.bounds(self.graph, step.node)
        label, start, end = self.label(axis), kept.start, kept.stop
        size = self.sizes.get(label)
        everything = start == 0 and (end >= (size or 0) if size else end >= 2**31 - 1)
        if everything:
            return
        first, last = (
            (start, end) == (0, 1),
            start == -1 and (end == 0 or end > 1 << 30),
        )
        if size is not None:
            indices = range(size)[kept]
            expect(len(indices) == 1, self.single(step))
            self.pick(axis, indices[0], remove=False)
        else:
            expect(first or last, self.single(step))
            self.pick(axis, 0 if first else -1, remove=False)

    def gather(self, step: Step, how: dict[str, Any]) -> None:
        """Reads a `Gather` that picks one entry of an axis."""
        index = self.graph.needed(step.node, 1)
        expect(index.ndim == 0, self.single(step))
        at = int(index) if step.entry is None else step.entry
        self.pick(how.get("axis", 0), at, remove=True)

    def single(self, step: Step) -> str:
        return (
            f"{step.node.op_type} must pick one direction of a recurrent layer or its "
            "last step."
        )

    def pick(self, axis: int, index: int, *, remove: bool) -> None:
        """Keeps one direction, or the last step that a direction computes."""
        label = self.label(axis)
        axis %= len(self.axes)
        size = self.sizes.get(label)
        what = f"index {index} of axis {label!r}"
        expect(
            size is None or -size <= index < size,
            f"{what} must be below its size {size}.",
        )
        if label == "d" and self.side is None:
            self.side = None if size == 1 else index % 2
        else:
            time = self.order[0] if self.order else None
            expect(
                label == time and not self.last,
                f"the graph must pick one direction or the last step, got {what}, with "
                f"time on axis {time!r}.",
            )
            self.pick_step(-1 if size is not None and index == size - 1 else index)
            self.axes[axis] = "unit"
        if remove:
            del self.axes[axis]

    def pick_step(self, index: int) -> None:
        """Keeps the first or the last step, if it is the last of its direction."""
        at = len(self.layers) - 1
        while isinstance(self.layers[at], Dense | LayerNorm):
            at -= 1
        layer = self.layers[at]
        if self.side is not None:
            reverse = bool(self.side)
        else:
            expect(
                isinstance(layer, Recurrent),
                f"step {index} holds only one step of one direction of {layer!r}. Pick "
                "the final states of both directions instead.",
            )
            reverse = layer.reverse
        expect(
            index == (0 if reverse else -1),
            f"step {index} is not the last that {layer!r} computes, and no layer "
            "returns another.",
        )
        if self.side is None:
            self.layers[at] = stacks.last_outputs(layer)
        else:
            self.last = True

    def joined(self, step: Step, how: dict[str, Any]) -> None:
        """Reads a node that joins both directions after they were separated."""
        node, start, tensors = step.node, self.axes, []
        for branch in step.branches:
            self.axes, self.side, self.last = list(start), None, False
            for each in branch:
                self.visit(each)
            tensors.append((self.side, self.axes, self.last))
        (_, axes, last), *_ = tensors or [(None, [], False)]
        expect(
            tensors == [(0, axes, last), (1, axes, last)],
            f"{node.op_type} must join both directions of one recurrent operator, "
            "forward first and in the same way.",
        )
        self.axes, self.side, self.last = list(axes), None, False
        label = self.label(how.get("axis", -1))
        if last:
            self.layers[-1] = stacks.last_outputs(self.layers[-1])
        if node.op_type == "Concat" and label == "d":
            return
        expect(
            "d" not in axes and (label == "f" or node.op_type != "Concat"),
            f"{node.op_type} must join the features of both directions, got the axes "
            f"{axes}.",
        )
        self.replace_last(merge=JOINS[node.op_type])
        if node.op_type == "Concat":
            self.sizes["f"] = 2 * (self.sizes["f"] or 0)

    def settle(self) -> None:
        """Ends the moves after a recurrent layer.

        If the tensor holds one direction, the layer becomes that direction alone.
        """
        if self.side is None:
            return
        side, self.side = self.side, None
        alone = stacks.sides(self.layers[-1])[side]
        self.params[-1] = self.params[-1][side]
        self.layers[-1] = stacks.last_outputs(alone) if self.last else alone
        self.last = False
        if "d" in self.axes:
            self.sizes["d"] = 1

    def replace_last(self, **options: Any) -> None:
        layer = self.layers[-1]
        expect(isinstance(layer, Bidirectional), f"{layer!r} has one direction.")
        self.layers[-1] = dataclasses.replace(layer, **options)

    def label(self, axis: int) -> Any:
        """Returns the meaning of an axis."""
        expect(
            -len(self.axes) <= axis < len(self.axes),
            f"the axis must be one of {len(self.axes)}, got {axis}.",
        )
        return self.axes[axis]

    def axis_of(self, node: Any, how: dict[str, Any]) -> int:
        """Returns the axis that a node names."""
        named: Sequence[int]
        if "axes" in how or len(node.input) < 2:
            named = how.get("axes", ())
        else:
            named = np.reshape(self.graph.needed(node, 1), -1).tolist()
        expect(len(named) == 1, f"{node.op_type} must name one axis, got {named}.")
        self.label(named[0])
        return named[0]
