"""Parameter trees of Flax modules, read and written; used by `flax_weights`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jrnn import checks
from jrnn.interop import cells, layouts, stacks
from jrnn.layers import Bidirectional, BidirectionalParams, Recurrent, Sequential
from jrnn.types import Array, Layer, Params, Shape

# The layers inside each Linen cell: those of the input, and those of the state.
LINEN = {
    "elman": (["i"], ["h"]),
    "lstm": (["ii", "if", "ig", "io"], ["hi", "hf", "hg", "ho"]),
    "gru": (["ir", "iz", "in"], ["hr", "hz", "hn"]),
    "mgu": (["if", "in"], ["hf", "hn"]),
    "conv_lstm": (["ih"], ["hh"]),
}
DENSE = {1: "elman", 3: "gru", 4: "lstm"}  # NNX's fused cells, by their blocks

Options = dict[str, Any]
Tree = Mapping[str, Any]


def read_layers(
    tree: Mapping[Any, Any], read: Callable[[Tree], tuple[Any, Params]]
) -> tuple[Layer, Params]:
    """Reads a stack, both directions, an RNN or a cell: whatever the names say."""
    if set(tree) == {"layers"}:  # nnx.Sequential
        return _read_stack(dict(tree["layers"]), read)
    if tree and all(str(name).startswith("layers_") for name in tree):
        return _read_stack({int(name[7:]): tree[name] for name in tree}, read)
    if set(tree) == {"forward_rnn", "backward_rnn"}:
        forward, params = read(_cell(tree["forward_rnn"]))
        backward, back_params = read(_cell(tree["backward_rnn"]))
        layer = Bidirectional(forward, None if backward == forward else backward)
        return layer, BidirectionalParams(params, back_params)
    cell, params = read(_cell(tree))
    return Recurrent(cell), params


def _read_stack(trees: dict[int, Tree], read: Callable[..., Any]) -> Any:
    pairs = [read_layers(trees[index], read) for index in sorted(trees)]
    layers, params = map(list, zip(*pairs, strict=True))
    stacks.check_sizes(layers, params)
    return stacks.stacked(layers, params)


def _cell(tree: Tree) -> Tree:
    return tree["cell"] if set(tree) == {"cell"} else tree


def write_layers(
    layer: Layer, params: Params, write: Callable[[Any, Any], Tree]
) -> dict[int | None, Any]:
    """Writes each layer of a stack, by its position; a single one under None.

    Args:
      layer: What to write.
      params: Its parameters.
      write: Writes one cell.
    """
    written = []
    for part, own in zip(
        stacks.recurrent(layer, "Flax"), stacks.entries(layer, params), strict=True
    ):
        trees = [{"cell": write(*side)} for side in stacks.sides(part, own)]
        both = dict(zip(("forward_rnn", "backward_rnn"), trees, strict=False))
        written.append(both if isinstance(part, Bidirectional) else trees[0])
    if not isinstance(layer, Sequential):
        return {None: written[0]}
    return dict(zip(stacks.positions(layer), written, strict=True))


def _reader(tree: Tree) -> layouts.Reader:
    """Flattens the tree of a cell; its leaves may be variables of NNX."""
    flat = {}
    for name, entry in tree.items():
        inner = entry if hasattr(entry, "items") else {"": entry}
        for leaf, value in inner.items():
            flat[f"{name}/{leaf}".rstrip("/")] = value[...]
    return layouts.Reader(flat)


def read_linen(tree: Tree, options: Options, spatial: Shape | None = None) -> Any:
    """Reads a cell of Linen, or of NNX where it has one layer per gate."""
    known = [
        kind for kind, names in LINEN.items() if {*names[0], *names[1]} == set(tree)
    ]
    if not known:
        raise ValueError(
            f"No cell of Flax has the parts {sorted(tree)}; known are "
            f"{ {kind: [*x, *h] for kind, (x, h) in LINEN.items()} }."
        )
    kind = known[0]
    weights = _reader(tree)
    if kind == "conv_lstm":
        return _read_conv(weights, options, spatial)
    of_input, of_state = LINEN[kind]
    join = lambda arrays: jnp.concatenate(arrays, axis=-1)  # noqa: E731
    w_x, w_h = (
        join([weights.take(f"{name}/kernel") for name in side])
        for side in (of_input, of_state)
    )
    biased = of_state if kind == "lstm" else of_input
    b_x = join([weights.take(f"{name}/bias") for name in biased])
    b_h = weights.maybe("hn/bias")
    weights.done()
    return cells.make(kind, w_x, w_h, b_x, b_h, **_options(kind, options))


def _read_conv(weights: layouts.Reader, options: Options, spatial: Shape | None) -> Any:
    if spatial is None:
        raise ValueError("A ConvLSTMCell needs `spatial`, the sizes of its images.")
    w_x, w_h, b_x, b_h = (
        _gates(weights.take(f"{side}/{name}"), "haiku", "jrnn")
        for name in ("kernel", "bias")
        for side in ("ih", "hh")
    )
    weights.done()
    options = {**options, "spatial": tuple(spatial), "padding": "same"}
    b_x = cells.shift_forget(b_x, 1.0)
    return cells.make("conv_lstm", w_x, w_h, b_x, b_h, **options)


def _gates(a: Array, source: str, target: str) -> Array:
    return layouts.reorder(a, "lstm", source, target)


def _options(kind: str, options: Options) -> Options:
    return {"activation": options["activation"]} if kind == "elman" else options


def read_dense(tree: Tree, options: Options) -> Any:
    """Reads a cell of NNX that has one layer for the input and one for the state."""
    weights = _reader(tree)
    w_x, w_h = (weights.take(f"dense_{side}/kernel") for side in ("i", "h"))
    number = layouts.blocks("dense_h/kernel", w_h, w_h.shape[0])
    if number not in DENSE:
        raise ValueError(f"No cell of NNX has {number} gates: {list(w_h.shape)}.")
    kind = DENSE[number]
    b_x = weights.maybe(f"dense_{'h' if kind == 'lstm' else 'i'}/bias")
    b_h = weights.maybe("hn_bias") if kind == "gru" else None
    weights.done()
    return cells.make(kind, w_x, w_h, b_x, b_h, **_options(kind, options))


def write_linen(cell: Any, params: Any) -> dict[str, Any]:
    """Writes a cell as Linen has it: one layer per gate."""
    kind = cells.kind_of(cell, "Flax")
    _check(cell, kind)
    if kind == "conv_lstm":
        return _write_conv(cell, params)
    blocks = cells.KINDS[kind].blocks
    b_x, b_h = _biases(cell, params, kind)
    split = lambda a: jnp.split(a, blocks, axis=-1)  # noqa: E731
    of_input, of_state = LINEN[kind]
    tree: dict[str, Any] = {}
    for names, kernel in ((of_input, params.w_x), (of_state, params.w_h)):
        tree |= {
            name: {"kernel": block}
            for name, block in zip(names, split(kernel), strict=True)
        }
    biased = of_state if kind == "lstm" else of_input
    for name, block in zip(biased, split(b_x), strict=True):
        tree[name]["bias"] = block
    if b_h is not None:
        tree["hn"]["bias"] = b_h
    return tree


def write_dense(cell: Any, params: Any, kind: str) -> dict[str, Any]:
    """Writes a cell as NNX has it: one layer for the input and one for the state."""
    _check(cell, kind)
    b_x, b_h = _biases(cell, params, kind)
    if b_h is not None and not (checks.concrete(b_h) and np.all(np.asarray(b_h) == 0)):
        raise ValueError(
            "NNX's GRUCell has no bias under the reset gate, and b_h is not zero: it "
            "would be lost. Export to Linen, whose GRUCell has one."
        )
    tree = {"dense_i": {"kernel": params.w_x}, "dense_h": {"kernel": params.w_h}}
    tree["dense_h" if kind == "lstm" else "dense_i"]["bias"] = b_x
    return tree


def _biases(cell: Any, params: Any, kind: str) -> tuple[Array, Array | None]:
    """Returns the one bias of Flax's cells, and that under the reset gate."""
    b_x, b_h = cells.filled(params)
    size = cell.hidden_size
    if kind in ("elman", "lstm"):
        return b_x + b_h, None
    if kind == "mgu":
        return b_x, b_h[-size:] if cell.reset else None
    return b_x.at[: 2 * size].add(b_h[: 2 * size]), b_h[2 * size :]


def _write_conv(cell: Any, params: Any) -> dict[str, Any]:
    b_x, b_h = cells.filled(params)
    b_x = cells.shift_forget(b_x, -1.0)
    w_x, w_h, b_x, b_h = (
        _gates(a, "jrnn", "haiku") for a in (params.w_x, params.w_h, b_x, b_h)
    )
    return {"ih": {"kernel": w_x, "bias": b_x}, "hh": {"kernel": w_h, "bias": b_h}}


def _check(cell: Any, kind: str) -> None:
    """Raises if a cell of Flax has no option for what this one does."""
    if getattr(cell, "output_activation", None) not in (None, cell.activation):
        raise ValueError(
            f"Flax's cells have one activation_fn, but {cell!r} has two activations."
        )
    if kind == "conv_lstm":
        cells.check_plain_convolution(cell, "Flax")
    if kind == "reset_before_gru":
        raise ValueError(
            "Flax's GRUCell applies the reset gate after the state's product; a "
            "`ResetBeforeGRU` is another function, whatever its weights."
        )
