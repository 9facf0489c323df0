"""Reads and writes the parameter trees of Flax modules."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jrnn import checks
from jrnn.interop.common import stacks
from jrnn.interop.common.activation_names import check_one_activation
from jrnn.interop.common.build import (
    CELL_KINDS,
    both_biases,
    build_cell,
    gru_biases,
    kind_of,
)
from jrnn.interop.common.conv_lstm import (
    check_same_padding,
    conv_lstm_arrays,
    read_conv_lstm,
)
from jrnn.interop.common.foreign_arrays import Reader, count_gates
from jrnn.interop.flax.options import add_residual
from jrnn.layers import Bidirectional, BidirectionalParams, Recurrent
from jrnn.types import Array, Layer, Params, Shape

# The dense layers in each Linen cell: those of the input, and those of the state.
LINEN = {
    "elman": (["i"], ["h"]),
    "lstm": (["ii", "if", "ig", "io"], ["hi", "hf", "hg", "ho"]),
    "gru": (["ir", "iz", "in"], ["hr", "hz", "hn"]),
    "mgu": (["if", "in"], ["hf", "hn"]),
    "conv_lstm": (["ih"], ["hh"]),
}
FUSED = {1: "elman", 3: "gru", 4: "lstm"}  # NNX's fused cells, by number of gates
CONV_LSTM = ("ih/kernel", "hh/kernel", "ih/bias", "hh/bias")

Options = dict[str, Any]
Tree = Mapping[str, Any]


def read_layers(
    tree: Mapping[Any, Any], read: Callable[[Tree], tuple[Any, Params]]
) -> tuple[Layer, Params]:
    """Reads a stack, both directions, an RNN or a cell. Its names determine which."""
    if set(tree) == {"layers"}:  # nnx.Sequential
        return _read_stack(dict(tree["layers"]), read)
    if tree and all(str(name).startswith("layers_") for name in tree):
        return _read_stack({int(name[7:]): tree[name] for name in tree}, read)
    if set(tree) == {"forward_rnn", "backward_rnn"}:
        forward, params = read(_cell(tree["forward_rnn"]))
        backward, back_params = read(_cell(tree["backward_rnn"]))
        layer = stacks.bidirectional(forward, backward)
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
    """Returns the tree of each layer by its position, or {None: tree} for one layer.

    Args:
      layer: The layer.
      params: Its parameters.
      write: The function that returns the tree of one cell.
    """
    written = []
    for each, own in stacks.layers_and_entries(layer, params, "Flax"):
        trees = [{"cell": write(*side)} for side in stacks.directions(each, own)]
        both = dict(zip(("forward_rnn", "backward_rnn"), trees, strict=False))
        written.append(both if isinstance(each, Bidirectional) else trees[0])
    if not stacks.is_stack(layer):
        return {None: written[0]}
    return dict(zip(stacks.positions(layer), written, strict=True))


def _reader(tree: Tree) -> Reader:
    """Flattens the tree of a cell. Its leaves may be variables of NNX."""
    flat = {}
    for name, entry in tree.items():
        inner = entry if hasattr(entry, "items") else {"": entry}
        for leaf, value in inner.items():
            flat[f"{name}/{leaf}".rstrip("/")] = value[...]
    return Reader(flat)


def read_linen(tree: Tree, options: Options, spatial: Shape | None = None) -> Any:
    """Reads a cell of Linen, or of NNX if it has one dense layer per gate."""
    known = [
        kind for kind, names in LINEN.items() if {*names[0], *names[1]} == set(tree)
    ]
    if not known:
        layers = {kind: [*x, *h] for kind, (x, h) in LINEN.items()}
        raise ValueError(
            f"The layers of a Flax cell must be those of one of {layers}, got "
            f"{sorted(tree)}. Pass the parameters of recurrent modules only."
        )
    kind = known[0]
    weights = _reader(tree)
    if kind == "conv_lstm":
        own = {name: options[name] for name in ("gate", "activation")}
        return read_conv_lstm(weights, CONV_LSTM, spatial, **own)
    of_input, of_state = LINEN[kind]
    join = lambda arrays: jnp.concatenate(arrays, axis=-1)  # noqa: E731
    w_x, w_h = (
        join([weights.take(f"{name}/kernel") for name in names])
        for names in (of_input, of_state)
    )
    biased = of_state if kind == "lstm" else of_input
    b_x = join([weights.take(f"{name}/bias") for name in biased])
    b_h = weights.maybe("hn/bias")
    weights.done()
    return _build(kind, (w_x, w_h, b_x, b_h), options)


def read_fused(tree: Tree, options: Options) -> Any:
    """Reads a cell of NNX that has one dense layer for input and one for state."""
    weights = _reader(tree)
    w_x, w_h = (weights.take(f"dense_{side}/kernel") for side in ("i", "h"))
    gates = count_gates("dense_h/kernel", w_h, w_h.shape[0])
    if gates not in FUSED:
        raise ValueError(
            "dense_h/kernel must have 1, 3 or 4 gates, as in a cell of NNX, got "
            f"{gates}: shape {list(w_h.shape)}. Pass the parameters of recurrent "
            "modules only."
        )
    kind = FUSED[gates]
    b_x = weights.maybe(f"dense_{'h' if kind == 'lstm' else 'i'}/bias")
    b_h = weights.maybe("hn_bias") if kind == "gru" else None
    weights.done()
    return _build(kind, (w_x, w_h, b_x, b_h), options)


def _build(kind: str, arrays: tuple[Any, ...], options: Options) -> tuple[Any, Params]:
    """Builds a cell with the options that apply to it."""
    own = {"activation": options["activation"]}
    if kind != "elman":
        return build_cell(kind, *arrays, **own, gate=options["gate"])
    made = build_cell(kind, *arrays, **own)
    return add_residual(*made) if options["residual"] else made


def write_linen(cell: Any, params: Any) -> dict[str, Any]:
    """Returns the tree of a cell in Linen: one dense layer per gate."""
    kind = kind_of(cell, "Flax")
    _check(cell, kind)
    if kind == "conv_lstm":
        arrays = zip(CONV_LSTM, conv_lstm_arrays(params), strict=True)
        named: dict[str, Any] = {"ih": {}, "hh": {}}
        for path, array in arrays:
            layer, _, name = path.partition("/")
            named[layer][name] = array
        return named
    gates = CELL_KINDS[kind].gates
    b_x, b_h = _biases(cell, params, kind)
    split = lambda a: jnp.split(a, gates, axis=-1)  # noqa: E731
    of_input, of_state = LINEN[kind]
    tree: dict[str, Any] = {}
    for names, weights in ((of_input, params.w_x), (of_state, params.w_h)):
        tree |= {
            name: {"kernel": block}
            for name, block in zip(names, split(weights), strict=True)
        }
    biased = of_state if kind == "lstm" else of_input
    for name, block in zip(biased, split(b_x), strict=True):
        tree[name]["bias"] = block
    if b_h is not None:
        tree["hn"]["bias"] = b_h
    return tree


def write_fused(cell: Any, params: Any, kind: str) -> dict[str, Any]:
    """Returns the tree of a cell in NNX: one dense layer for input, one for state."""
    _check(cell, kind)
    b_x, b_h = _biases(cell, params, kind)
    if b_h is not None and not (checks.concrete(b_h) and np.all(np.asarray(b_h) == 0)):
        raise ValueError(
            "The GRUCell of NNX has no bias under the reset gate, so b_h must be zero "
            "there, but it is not. Convert to Linen, whose GRUCell has this bias."
        )
    tree = {"dense_i": {"kernel": params.w_x}, "dense_h": {"kernel": params.w_h}}
    tree["dense_h" if kind == "lstm" else "dense_i"]["bias"] = b_x
    return tree


def _biases(cell: Any, params: Any, kind: str) -> tuple[Array, Array | None]:
    """Returns the bias of a Flax cell, and the bias under its reset gate or None."""
    b_x, b_h = both_biases(params)
    if kind in ("elman", "lstm"):
        return b_x + b_h, None
    if kind == "mgu":
        return b_x, b_h[-cell.hidden_size :] if cell.reset else None
    return gru_biases(params)


def _check(cell: Any, kind: str) -> None:
    """Raises if no cell of Flax has the options of this one."""
    check_one_activation(cell, "Flax")
    if kind == "conv_lstm":
        check_same_padding(cell, "Flax")
    if kind == "reset_before_gru":
        raise ValueError(
            "The GRUCell of Flax applies the reset gate after the recurrent matmul, as "
            "`GRU` does. `ResetBeforeGRU` applies it before, which is another function "
            "with the same weights. Use `GRU`."
        )
