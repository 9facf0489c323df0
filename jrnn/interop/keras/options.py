"""Finds the layers of a Keras layer, by its serialized options or its shapes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jrnn.cells import activations
from jrnn.interop.common import stacks
from jrnn.interop.common.activation_names import ACTIVATIONS
from jrnn.layers import Recurrent
from jrnn.types import Activation, Array

MERGES = {"concat": "concat", "sum": "sum", "ave": "mean", "mul": "mul", None: None}
CLASSES = {
    "SimpleRNN": "elman",
    "SimpleRNNCell": "elman",
    "LSTM": "lstm",
    "LSTMCell": "lstm",
    "GRU": "gru",
    "GRUCell": "gru",
    "CuDNNLSTM": "lstm",
    "CuDNNGRU": "gru",
    "ConvLSTM1D": "conv_lstm",
    "ConvLSTM2D": "conv_lstm",
    "ConvLSTM3D": "conv_lstm",
}
FUNCTIONS: dict[str, Activation] = {
    **{name: functions[0] for name, functions in ACTIVATIONS.items()},
    "celu": activations.Elu(),  # the same function if its alpha is 1
    "elu": activations.Elu(),
    "gelu": activations.gelu,
    "hard_sigmoid": activations.HardSigmoid(1 / 6),
    "hard_tanh": activations.hard_tanh,
    "leaky_relu": activations.LeakyRelu(0.2),
    "mish": activations.mish,
    "swish": activations.silu,
}
GATES = {1: "elman", 3: "gru", 4: "lstm"}  # kinds by their number of gates


class Spec(NamedTuple):
    """One cell: its kind, whether it has a bias, and its further options."""

    kind: str
    bias: bool
    options: dict[str, Any] = {}


class Level(NamedTuple):
    """One layer: its cells, and the function that makes it from them."""

    cells: tuple[Spec, ...]
    layer: Callable[..., Any] = Recurrent


def read(config: Mapping[str, Any]) -> list[Level]:
    """Returns the layers that serialized options describe.

    Args:
      config: What `keras.saving.serialize_keras_object` or `get_config` returns.

    Raises:
      ValueError: if jrnn has no layer for a class or an option.
    """
    config = with_class(config)
    inner = config["config"]
    if config["class_name"] != "Bidirectional":
        return _one_way(config)
    if inner["merge_mode"] not in MERGES:
        raise ValueError(
            f"merge_mode must be one of {[*MERGES]}, got {inner['merge_mode']!r}."
        )
    forward = _one_way(inner["layer"])
    backward = _one_way(inner.get("backward_layer") or inner["layer"])
    if len(forward) != 1:
        raise ValueError(
            "A Bidirectional must be around one cell, got one around a stack of "
            f"{len(forward)} cells. Convert a Bidirectional per cell."
        )
    merge = MERGES[inner["merge_mode"]]
    returns = inner["layer"]["config"]["return_sequences"]

    def layer(ahead: Any, behind: Any) -> Any:
        return stacks.bidirectional(ahead, behind, merge=merge, return_sequence=returns)

    return [Level((*forward[0].cells, *backward[0].cells), layer)]


def with_class(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the options of a layer with the name of its class.

    The result of `layer.get_config()` has no class name, but its keys determine the
    class.
    """
    if "class_name" in config and "config" in config:
        return config
    classes = {
        "layers": "Sequential",
        "merge_mode": "Bidirectional",
        "cell": "RNN",
        "filters": "ConvLSTM",
        "reset_after": "GRU",
        "unit_forget_bias": "LSTM",
        "recurrent_activation": "GRU",
        "recurrent_initializer": "SimpleRNN" if "use_bias" in config else "CuDNNGRU",
    }
    found = next((name for key, name in classes.items() if key in config), None)
    if found in (None, "ConvLSTM"):
        raise ValueError(
            f"The options {sorted(config)[:8]} do not determine the layer. Pass "
            "`config=keras.saving.serialize_keras_object(layer)`, which contains its "
            "class and the shape of its input."
        )
    if found == "LSTM" and "use_bias" not in config:
        found = "CuDNNLSTM"
    return {"class_name": found, "config": config}


def _one_way(config: Mapping[str, Any]) -> list[Level]:
    """Reads a recurrent layer, or an `RNN` over a cell or a stack of cells."""
    inner = config["config"]
    inside = [config]
    if config["class_name"] == "RNN":
        cell = inner["cell"]
        stack = cell["class_name"] == "StackedRNNCells"
        inside = cell["config"]["cells"] if stack else [cell]
    last = len(inside) - 1
    return [
        Level((_spec(each),), _runner(inner, index < last))
        for index, each in enumerate(inside)
    ]


def _runner(inner: Mapping[str, Any], feeds_another: bool) -> Callable[..., Recurrent]:
    returns = feeds_another or inner.get("return_sequences", False)

    def layer(cell: Any) -> Recurrent:
        reverse = inner.get("go_backwards", False)
        return Recurrent(cell, reverse=reverse, return_sequence=returns)

    return layer


def _spec(config: Mapping[str, Any]) -> Spec:
    """Reads the options of a cell."""
    inner, name = config["config"], config["class_name"]
    if name not in CLASSES:
        raise ValueError(
            f"The layer or cell must be one of {sorted(CLASSES)}, got {name}. Convert "
            "the other layers by hand."
        )
    kind = CLASSES[name]
    if name.startswith("CuDNN"):  # has no options
        return Spec(kind, True)
    if kind == "gru" and not inner.get("reset_after", False):
        kind = "reset_before_gru"
    named = {"activation": inner["activation"]}
    if kind != "elman":
        named["gate"] = inner["recurrent_activation"]
    keras_2 = "seed" not in inner  # Keras 3 writes it for every recurrent layer
    options = {field: activation(each, keras_2) for field, each in named.items()}
    if kind == "conv_lstm":
        options |= _convolution(config)
    return Spec(kind, inner.get("use_bias", True), options)


def _convolution(config: Mapping[str, Any]) -> dict[str, Any]:
    inner = config["config"]
    shape = (config.get("build_config") or {}).get("input_shape")
    if shape is None or inner["data_format"] != "channels_last":
        raise ValueError(
            "The config of a ConvLSTM must hold build_config and data_format "
            f"'channels_last', got input shape {shape} and {inner['data_format']!r}. "
            "Build the layer before you serialize it, with channels last."
        )
    return {
        "spatial": tuple(shape[2:-1]),
        "strides": tuple(inner["strides"]),
        "padding": inner["padding"],
        "dilation": tuple(inner["dilation_rate"]),
    }


def activation(name: Any, keras_2: bool = False) -> Activation:
    """Returns the activation that a name of Keras stands for.

    Args:
      name: The name.
      keras_2: Whether Keras 2 gave it: its `hard_sigmoid` has the slope 0.2, and that
        of Keras 3 has 1/6.

    Raises:
      ValueError: if jrnn does not have the activation.
    """
    if not isinstance(name, str) or name not in FUNCTIONS:
        raise ValueError(
            f"The activation must be one of {sorted(FUNCTIONS)}, got {name!r}. Use "
            "one of these, which all convert."
        )
    if keras_2 and name == "hard_sigmoid":
        return activations.HardSigmoid(0.2)
    return FUNCTIONS[name]


def from_shapes(arrays: Sequence[Array]) -> list[Level]:
    """Returns the layers whose weights have these shapes.

    Raises:
      ValueError: if they fit no layer, or several.
    """
    found = [plan for width in (3, 2) if (plan := _grouped(arrays, width))]
    if len(found) != 1:
        shapes = [list(a.shape) for a in arrays]
        raise ValueError(
            f"The shapes {shapes} match no layer, or several layers. Pass the options "
            "of the layer: `config=keras.saving.serialize_keras_object(layer)`."
        )
    return found[0]


def _grouped(arrays: Sequence[Array], width: int) -> list[Level] | None:
    """Returns the layers if each cell has `width` arrays; None if this does not fit."""
    if not arrays or len(arrays) % width:
        return None
    groups = [arrays[at : at + width] for at in range(0, len(arrays), width)]
    specs = [spec for group in groups if (spec := _of_shapes(*group))]
    if len(specs) < len(groups):
        return None
    sizes = [group[1].shape[0] for group in groups]
    chained = all(
        group[0].shape[0] == size
        for group, size in zip(groups[1:], sizes, strict=False)
    )
    both_ways = len(groups) == 2 and [a.shape for a in groups[0]] == [
        a.shape for a in groups[1]
    ]
    if chained == both_ways and len(groups) > 1:
        return None  # neither a stack nor both directions, or possibly either
    if both_ways:
        return [Level(tuple(specs), stacks.bidirectional)]
    return [Level((spec,)) for spec in specs]


def _of_shapes(w_x: Array, w_h: Array, bias: Array | None = None) -> Spec | None:
    """Returns the cell that has these arrays, or None."""
    if w_x.ndim != 2 or w_h.ndim != 2 or w_x.shape[1] != w_h.shape[1] or not w_h.size:
        return None
    kind = GATES.get(w_h.shape[1] // w_h.shape[0])
    if kind is None or w_h.shape[1] % w_h.shape[0] or (bias is None and kind == "gru"):
        return None  # without a bias, both kinds of GRU have the same shapes
    if bias is None:
        return Spec(kind, False)
    if kind == "gru" and bias.ndim == 1:
        kind = "reset_before_gru"
    width = w_h.shape[1]
    if GATES[width // w_h.shape[0]] != "elman" and bias.shape == (2 * width,):  # CuDNN
        return Spec(GATES[width // w_h.shape[0]], True)
    expected = (2, width) if kind == "gru" else (width,)
    return Spec(kind, True) if bias.shape == expected else None
