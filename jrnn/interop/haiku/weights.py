"""Weights and states of Haiku's recurrent cores.

Weights are nested dictionaries, `{"lstm/linear": {"w": ..., "b": ...}}`. Only
`state_to_haiku` for LSTMs needs Haiku to be installed, as their state is an
`hk.LSTMState`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from jrnn.cells import activations
from jrnn.interop.common import stacks
from jrnn.interop.common.activation_names import (
    activation_name,
    check_default_activations,
)
from jrnn.interop.common.build import (
    both_biases,
    build_cell,
    kind_of,
    no_such_cell,
    shift_forget_bias,
)
from jrnn.interop.common.conv_lstm import (
    check_same_padding,
    conv_lstm_arrays,
    read_conv_lstm,
)
from jrnn.interop.common.foreign_arrays import Reader, count_gates
from jrnn.interop.common.gate_orders import reorder
from jrnn.interop.common.states import state_from, state_to
from jrnn.interop.haiku.cores import in_order, reads_input
from jrnn.layers import Bidirectional, Recurrent, Stack
from jrnn.types import Array, Layer, Params, Shape, State

INNER_MODULES = ("linear", "linear_1", "input_to_hidden", "hidden_to_hidden")
NAMES = {"elman": "vanilla_rnn", "reset_before_gru": "gru", "lstm": "lstm"}
CONV_LSTM = tuple(f"{inner}/{name}" for name in "wb" for inner in INNER_MODULES[2:])


def from_params(
    params: Mapping[str, Mapping[str, Any]],
    *,
    spatial: Shape | None = None,
    order: Sequence[str] | None = None,
) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from the parameters of a Haiku core.

    Haiku adds 1 to the forget gate at every step. Here its bias contains this 1.

    Args:
      params: The parameters of an `hk.VanillaRNN`, `hk.LSTM`, `hk.GRU` or
        `hk.Conv1DLSTM` to `hk.Conv3DLSTM`, or of an `hk.DeepRNN` of several, and of no
        other module.
      spatial: Spatial sizes of the images that a convolutional LSTM reads.
      order: The names of the cores, such as ["lstm", "gru", "lstm_1"], from the input
        to the output. If all cores are of one kind, their names are numbered and no
        order is needed.

    Returns:
      A `Recurrent`, a `Sequential` of several, or a `Stack` with `skip=True` for
      `hk.deep_rnn_with_skip_connections`, whose cores also read the input, as the sizes
      of their weights show; and its parameters.

    Raises:
      ValueError: if weights are missing, unknown, or do not fit each other.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop import haiku
      >>> layer, params = haiku.from_params({"lstm/linear": {
      ...     "w": np.zeros((3 + 4, 16), "float32"), "b": np.zeros(16, "float32"),
      ... }})
      >>> layer, float(params.b_x.sum())
      (Recurrent(cell=LSTM(hidden_size=4)), 4.0)
    """
    cores: dict[str, dict[str, Any]] = {}
    for path, arrays in params.items():
        parent, _, last = path.rpartition("/")
        core, inner = (parent, f"{last}/") if last in INNER_MODULES else (path, "")
        named = {f"{inner}{name}": value for name, value in arrays.items()}
        cores.setdefault(core, {}).update(named)
    pairs = [_read(Reader(cores[core]), spatial) for core in in_order(cores, order)]
    layers = [Recurrent(cell) for cell, _ in pairs]
    made = [own for _, own in pairs]
    if reads_input(layers, made):
        return Stack(*layers, skip=True), tuple(made)
    stacks.check_sizes(layers, made)
    return stacks.stacked(layers, made)


def to_params(
    layer: Layer, params: Params, *, name: str | None = None
) -> dict[str, dict[str, Array]]:
    """Returns the parameters of a layer with the names and the layout of Haiku.

    Args:
      layer: A `Recurrent` of a ReLU `Elman`, an `LSTM`, a `ResetBeforeGRU` or a
        `ConvLSTM`, or a `Sequential` or `Stack` of several.
      params: Its parameters.
      name: The path of the core; None for Haiku's default name.

    Raises:
      ValueError: if Haiku has no core that computes the same.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import haiku
      >>> layer = jrnn.Recurrent(jrnn.ResetBeforeGRU(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> {k: v.shape for k, v in haiku.to_params(layer, params)["gru"].items()}
      {'w_i': (3, 12), 'w_h': (4, 12), 'b': (12,)}
    """
    pairs = stacks.layers_and_entries(layer, params, "Haiku")
    kinds = [_kind(each) for each, _ in pairs]
    if name is not None and len(set(kinds)) > 1:
        raise ValueError(
            "Haiku numbers the cores of each kind separately, so those of the kinds "
            f"{sorted(set(kinds))} have no common name. Use `name=None`."
        )
    written: dict[str, dict[str, Array]] = {}
    for index, (each, own) in enumerate(pairs):
        number = kinds[:index].count(kinds[index])
        core = (name or _default_name(each.cell)) + (f"_{number}" if number else "")
        written |= _write(each.cell, own, core)
    return written


def state_from_haiku(layer: Layer, state: Any) -> State:
    """Returns the state of a layer for that of Haiku's core.

    Args:
      layer: As for `to_params`.
      state: An array; for LSTMs an `hk.LSTMState` or a pair (hidden, cell). For an
        `hk.DeepRNN`, one entry per core.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import haiku
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> haiku.state_from_haiku(layer, (jnp.zeros(4), jnp.ones(4))).c.tolist()
      [1.0, 1.0, 1.0, 1.0]
    """
    return state_from(layer, state, "Haiku", ("h", "c"))


def state_to_haiku(layer: Layer, state: State) -> Any:
    """Returns the state of Haiku's core for that of a layer.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import haiku
      >>> layer = jrnn.Recurrent(jrnn.ResetBeforeGRU(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> haiku.state_to_haiku(layer, layer.initial_state(params, (2,))).shape
      (2, 4)
    """
    made = state_to(layer, state, "Haiku", ("h", "c"))
    if stacks.is_stack(layer):
        return tuple(map(_with_class, made))
    return _with_class(made)


def _with_class(state: Any) -> Any:
    """Returns the state of an LSTM as the class that Haiku requires."""
    if not isinstance(state, tuple):
        return state
    import haiku  # noqa: PLC0415  optional

    return haiku.LSTMState(hidden=state[0], cell=state[1])


def _read(weights: Reader, spatial: Shape | None) -> tuple[Any, Params]:
    """Reads one core. The names of its arrays determine its kind."""
    names = set(weights.names)
    if "w_i" in names:
        return _read_gru(weights)
    if "linear_1/w" in names:
        w_x, w_h = weights.take("linear/w"), weights.take("linear_1/w")
        b_x, b_h = weights.maybe("linear/b"), weights.maybe("linear_1/b")
        weights.done()
        return build_cell("elman", w_x, w_h, b_x, b_h, activation=activations.relu)
    if "hidden_to_hidden/w" in names:
        return read_conv_lstm(weights, CONV_LSTM, spatial)
    w, b = (
        reorder(weights.take(f"linear/{name}"), "lstm", "haiku", "jrnn")
        for name in "wb"
    )
    weights.done()
    size = w.shape[-1] // 4
    count_gates("linear/w", w, size)
    return build_cell("lstm", w[:-size], w[-size:], shift_forget_bias(b, 1.0))


def _read_gru(weights: Reader) -> tuple[Any, Params]:
    arrays = [_negate_update_gate(weights.take(name)) for name in ("w_i", "w_h", "b")]
    weights.done()
    ordered = [reorder(a, "gru", "haiku", "jrnn") for a in arrays]
    return build_cell("reset_before_gru", *ordered)


def _write(cell: Any, params: Any, core: str) -> dict[str, dict[str, Array]]:
    kind = kind_of(cell, "Haiku")
    b_x, b_h = both_biases(params)
    if kind == "elman":
        return {
            f"{core}/linear": {"w": params.w_x, "b": b_x},
            f"{core}/linear_1": {"w": params.w_h, "b": b_h},
        }
    if kind == "reset_before_gru":
        w_i, w_h, b = (
            _negate_update_gate(reorder(a, "gru", "jrnn", "haiku"))
            for a in (params.w_x, params.w_h, b_x)
        )
        return {core: {"w_i": w_i, "w_h": w_h, "b": b}}
    if kind == "lstm":
        w = jnp.concatenate([params.w_x, params.w_h])
        b = shift_forget_bias(b_x + b_h, -1.0)
        w, b = (reorder(a, "lstm", "jrnn", "haiku") for a in (w, b))
        return {f"{core}/linear": {"w": w, "b": b}}
    w_x, w_h, b_x, b_h = conv_lstm_arrays(params)
    return {
        f"{core}/input_to_hidden": {"w": w_x, "b": b_x},
        f"{core}/hidden_to_hidden": {"w": w_h, "b": b_h},
    }


def _kind(layer: Any) -> str:
    """Returns the kind of a layer's cell. Raises if Haiku does not have it."""
    if isinstance(layer, Bidirectional) or layer.reverse:
        raise ValueError(
            f"Haiku's cores have no directions, got {layer!r}. Convert each direction "
            "as `Recurrent(cell)`, and unroll it with `hk.dynamic_unroll(..., "
            "reverse=True)`."
        )
    kind = kind_of(layer.cell, "Haiku")
    if kind == "gru":
        raise ValueError(
            f"Haiku's GRU applies the reset gate before the recurrent matmul, but "
            f"{layer.cell!r} applies it after. Use `ResetBeforeGRU`, which gives other "
            "results with the same weights."
        )
    if kind == "mgu":
        raise no_such_cell(layer.cell, "Haiku")
    if kind == "elman":
        name = activation_name(layer.cell.activation, "Haiku")
        if name != "relu":
            raise ValueError(
                f"Haiku's VanillaRNN computes with relu, got {layer.cell!r}. Use "
                "`activation=jrnn.activations.relu`."
            )
    else:
        check_default_activations(layer.cell, "Haiku")
    if kind == "conv_lstm":
        check_same_padding(layer.cell, "Haiku")
    return kind


def _default_name(cell: Any) -> str:
    kind = kind_of(cell, "Haiku")
    return NAMES.get(kind) or f"conv{len(cell.kernel_size)}_d_lstm"


def _negate_update_gate(a: Array) -> Array:
    """Negates the first block: Haiku has 1 - z, and 1 - sigmoid(a) = sigmoid(-a)."""
    size = a.shape[-1] // 3
    return a.at[..., :size].multiply(-1)
