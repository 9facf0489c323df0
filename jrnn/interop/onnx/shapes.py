"""Shapes that a graph computes from the shapes of its tensors.

A size is an integer times the sizes of named axes: if "d" and "f" are joined, it is
`Size(1, ("d", "f"))`. Exporters compute shapes for `Reshape` in this way if the batch
or the time of a model is not fixed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jrnn.interop.onnx.expect import expect
from jrnn.interop.onnx.graph import Graph, attributes_of

MAX_DEPTH = 64
_SAME = {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"}


class Size(NamedTuple):
    """A number times the sizes of axes."""

    number: int
    axes: tuple[Any, ...] = ()


def vector(
    graph: Graph, name: str, axes_of: Mapping[str, Sequence[Any]], depth: int = 0
) -> list[Size]:
    """Returns the entries of a tensor that is a list of sizes.

    Args:
      graph: The graph.
      name: The tensor.
      axes_of: The axes of each tensor whose shape is known.
      depth: How many tensors are computed from this one.

    Raises:
      ValueError: if it depends on anything but constants and shapes.
    """
    expect(depth <= MAX_DEPTH, f"a shape must take at most {MAX_DEPTH} steps.")
    array = graph.constant(name)
    if array is not None:
        return [Size(int(number)) for number in array.reshape(-1)]
    node = graph.makers.get(name)
    kind = None if node is None else node.op_type
    expect(
        kind in {*_SAME, "Shape", "Slice", "Gather", "Concat", "Mul"},
        f"a shape must be computed from shapes of tensors, got {name!r} of {kind}.",
    )
    assert node is not None
    how = attributes_of(node)
    if kind == "Shape":
        axes = axes_of.get(node.input[0])
        expect(axes is not None, f"the shape of {node.input[0]!r} is not known.")
        kept = list(axes or ())[how.get("start", 0) : how.get("end")]
        return [Size(1, (axis,)) for axis in kept]
    read = [vector(graph, each, axes_of, depth + 1) for each in _data(node)]
    if kind == "Concat":
        return [each for entries in read for each in entries]
    if kind == "Mul":
        a, b = read
        pairs = zip(a * len(b), b * len(a), strict=True)
        expect(1 in (len(a), len(b)) or len(a) == len(b), "Mul must be of one shape.")
        pairs = zip(a, b, strict=True) if len(a) == len(b) else pairs
        return [Size(p.number * q.number, p.axes + q.axes) for p, q in pairs]
    if kind == "Gather":
        indices = graph.needed(node, 1).reshape(-1).tolist()
        expect(
            all(-len(read[0]) <= index < len(read[0]) for index in indices),
            f"Gather must pick entries of {len(read[0])} sizes, got {indices}.",
        )
        return [read[0][index] for index in indices]
    if kind == "Slice":
        return read[0][bounds(graph, node)[1]]
    return read[0]


def bounds(graph: Graph, node: Any) -> tuple[int, slice]:
    """Returns the axis of a `Slice`, and the range that it keeps.

    Raises:
      ValueError: if it is not one constant slice of one axis in steps of one.
    """
    how = attributes_of(node)
    if "starts" in how:  # attributes up to opset 9
        starts, ends = how["starts"], how["ends"]
        axes, steps = how.get("axes", [0]), [1]
    else:
        names = [*node.input, "", ""]
        starts, ends = (graph.needed(node, i).reshape(-1).tolist() for i in (1, 2))
        axes = graph.needed(node, 3).reshape(-1).tolist() if names[3] else [0]
        steps = graph.needed(node, 4).reshape(-1).tolist() if names[4] else [1]
    one = all(len(each) == 1 for each in (starts, ends, axes, steps))
    expect(one and steps[0] == 1, "Slice must cut one axis in steps of 1.")
    return axes[0], slice(starts[0], ends[0])


def normal(size: Size, known: Mapping[Any, int | None]) -> Size:
    """Returns a size with the sizes of all known axes multiplied into its number."""
    fixed = [known.get(axis) for axis in size.axes]
    pairs = zip(size.axes, fixed, strict=True)
    left = sorted((axis for axis, number in pairs if number is None), key=str)
    return Size(size.number * math.prod(n for n in fixed if n is not None), tuple(left))


def join(
    axes: Sequence[Any],
    target: list[Size],
    known: Mapping[Any, int | None],
    *,
    zero: bool = False,
) -> list[Any]:
    """Returns the axes after a `Reshape` that joins directions with features.

    Args:
      axes: The axes before it.
      target: The new shape. 0 keeps the size of the same axis unless `zero`, and -1 is
        inferred.
      known: The sizes of axes that are known.
      zero: Whether 0 is a size: the attribute `allowzero`.

    Raises:
      ValueError: if it does anything else, or if its result depends on unknown sizes.
    """
    single = [axis for axis in axes if known.get(axis) == 1 and axis in ("d", "unit")]
    groups: list[tuple[Any, ...]] = [(a,) for a in axes if a not in single]
    if len(target) == len(axes):
        groups = [(axis,) for axis in axes]
    elif ("d",) in groups and groups[-2:] == [("d",), ("f",)]:
        groups = [*groups[:-2], ("d", "f")]
    wanted = [
        Size(1, (axes[index],)) if size == Size(0) and not zero else size
        for index, size in enumerate(target[: len(axes)])
    ]
    fits = len(target) == len(groups) == len(wanted) and wanted.count(Size(-1)) <= 1
    for group, size in zip(groups, wanted, strict=False):
        same = normal(Size(1, group), known) == normal(size, known)
        fits = fits and (size == Size(-1) or same)
    expect(
        fits,
        "Reshape must join both directions, as [0, 0, -1] does, and keep all other "
        f"axes, got {_show(target)} for the axes {list(axes)} of sizes "
        f"{[known.get(axis) for axis in axes]}.",
    )
    return [group[-1] for group in groups]


def _show(target: list[Size]) -> str:
    return str([size.number if not size.axes else size.axes for size in target])


def _data(node: Any) -> list[str]:
    """Returns the inputs of a node that hold sizes, and not indices."""
    both = node.op_type in ("Concat", "Mul")
    return list(node.input) if both else list(node.input[:1])
