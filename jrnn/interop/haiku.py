"""Weights and states of Haiku's recurrent cores.

Weights are plain dictionaries, `{"lstm/linear": {"w": ..., "b": ...}}`; Haiku need only
be installed for the state of an LSTM, which is a class of its own there.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jrnn.cells import activations
from jrnn.interop import cells, layouts, stacks
from jrnn.layers import Bidirectional, Recurrent, Sequential
from jrnn.types import Array, Layer, Params, Shape, State

PARTS = ("linear", "linear_1", "input_to_hidden", "hidden_to_hidden")
NAMES = {"elman": "vanilla_rnn", "reset_before_gru": "gru", "lstm": "lstm"}


def from_params(
    params: Mapping[str, Mapping[str, Any]], *, spatial: Shape | None = None
) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from those of a Haiku core.

    The 1 that Haiku adds to the forget gate at every step is added to its bias here.

    Args:
      params: Of an `hk.VanillaRNN`, `hk.LSTM`, `hk.GRU` or `hk.Conv1DLSTM` to
        `hk.Conv3DLSTM`, or of an `hk.DeepRNN` of several of one kind: those of no other
        module.
      spatial: Spatial sizes of the images that a convolutional LSTM reads.

    Returns:
      A `Recurrent`, or a `Sequential` of several; and its parameters.

    Raises:
      ValueError: if weights are missing, left over, or do not fit each other.

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
        core, part = (parent, f"{last}/") if last in PARTS else (path, "")
        named = {f"{part}{name}": value for name, value in arrays.items()}
        cores.setdefault(core, {}).update(named)
    pairs = [_read(layouts.Reader(cores[core]), spatial) for core in _ordered(cores)]
    layers = [Recurrent(cell) for cell, _ in pairs]
    made = [own for _, own in pairs]
    stacks.check_sizes(layers, made)
    return stacks.stacked(layers, made)


def to_params(
    layer: Layer, params: Params, *, name: str | None = None
) -> dict[str, dict[str, Array]]:
    """Returns the parameters of a layer under the names and in the layout of Haiku.

    Args:
      layer: A `Recurrent` of a ReLU `Elman`, an `LSTM`, a `ResetBeforeGRU` or a
        `ConvLSTM`, or a `Sequential` of several of one kind.
      params: Its parameters.
      name: Path of the core; None for the name that Haiku gives it.

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
    parts = stacks.recurrent(layer, "Haiku")
    kinds = {_kind(part) for part in parts}
    if len(kinds) > 1:
        raise ValueError(
            f"Haiku numbers cores by kind, and the order of {sorted(kinds)} would be "
            "lost; export the layers one by one."
        )
    written: dict[str, dict[str, Array]] = {}
    for index, (part, own) in enumerate(
        zip(parts, stacks.entries(layer, params), strict=True)
    ):
        core = (name or _default_name(part.cell)) + (f"_{index}" if index else "")
        written |= _write(part.cell, own, core)
    return written


def state_from_haiku(layer: Layer, state: Any) -> State:
    """Returns the state of a layer for that of Haiku's core.

    Args:
      layer: As for `to_params`.
      state: An array; of LSTMs an `hk.LSTMState` or a pair (hidden, cell). Of an
        `hk.DeepRNN` one entry per core.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import haiku
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> haiku.state_from_haiku(layer, (jnp.zeros(4), jnp.ones(4))).c.tolist()
      [1.0, 1.0, 1.0, 1.0]
    """
    return stacks.state_from(layer, state, "Haiku", ("h", "c"))


def state_to_haiku(layer: Layer, state: State) -> Any:
    """Returns the state of a layer as Haiku's core has it.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import haiku
      >>> layer = jrnn.Recurrent(jrnn.ResetBeforeGRU(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> haiku.state_to_haiku(layer, layer.initial_state(params, (2,))).shape
      (2, 4)
    """
    made = stacks.state_to(layer, state, "Haiku", ("h", "c"))
    if isinstance(layer, Sequential):
        return tuple(map(_with_class, made))
    return _with_class(made)


def _with_class(state: Any) -> Any:
    """Gives the state of an LSTM the class that Haiku asks for."""
    if not isinstance(state, tuple):
        return state
    import haiku  # noqa: PLC0415  optional

    return haiku.LSTMState(hidden=state[0], cell=state[1])


def _ordered(cores: Mapping[str, Any]) -> list[str]:
    """Sorts `lstm`, `lstm_1`, ..., `lstm_10` as they were made.

    Raises:
      ValueError: if there are none, or their order is not in their names.
    """
    places = {}
    for core in cores:
        stem, _, number = core.rpartition("_")
        places[core] = (stem, int(number)) if number.isdigit() else (core, 0)
    if len({stem for stem, _ in places.values()}) != 1:
        raise ValueError(
            f"The names {sorted(cores)} do not tell one core, or the order of several: "
            "pass the parameters of one core, or of numbered ones of one kind."
        )
    return sorted(places, key=lambda core: places[core][1])


def _read(weights: layouts.Reader, spatial: Shape | None) -> tuple[Any, Params]:
    """Reads one core, whose arrays say what it is."""
    names = set(weights.known)
    if "w_i" in names:
        return _read_gru(weights)
    if "linear_1/w" in names:
        w_x, w_h = weights.take("linear/w"), weights.take("linear_1/w")
        b_x, b_h = weights.maybe("linear/b"), weights.maybe("linear_1/b")
        weights.done()
        return cells.make("elman", w_x, w_h, b_x, b_h, activation=activations.relu)
    if "hidden_to_hidden/w" in names:
        return _read_conv(weights, spatial)
    w, b = (_gates(weights.take(f"linear/{name}"), "haiku", "jrnn") for name in "wb")
    weights.done()
    size = w.shape[-1] // 4
    layouts.blocks("linear/w", w, size)
    return cells.make("lstm", w[:-size], w[-size:], cells.shift_forget(b, 1.0))


def _read_gru(weights: layouts.Reader) -> tuple[Any, Params]:
    arrays = [_negated(weights.take(name)) for name in ("w_i", "w_h", "b")]
    weights.done()
    moved = [layouts.reorder(a, "gru", "haiku", "jrnn") for a in arrays]
    return cells.make("reset_before_gru", *moved)


def _read_conv(weights: layouts.Reader, spatial: Shape | None) -> tuple[Any, Params]:
    if spatial is None:
        raise ValueError("A convolutional LSTM needs `spatial`, its images' sizes.")
    w_x, w_h, b_x, b_h = (
        _gates(weights.take(f"{part}/{name}"), "haiku", "jrnn")
        for name in "wb"
        for part in ("input_to_hidden", "hidden_to_hidden")
    )
    weights.done()
    b_x = cells.shift_forget(b_x, 1.0)
    options = {"spatial": tuple(spatial), "padding": "same"}
    return cells.make("conv_lstm", w_x, w_h, b_x, b_h, **options)


def _write(cell: Any, params: Any, core: str) -> dict[str, dict[str, Array]]:
    kind = cells.kind_of(cell, "Haiku")
    b_x, b_h = cells.filled(params)
    if kind == "elman":
        return {
            f"{core}/linear": {"w": params.w_x, "b": b_x},
            f"{core}/linear_1": {"w": params.w_h, "b": b_h},
        }
    if kind == "reset_before_gru":
        w_i, w_h, b = (
            _negated(layouts.reorder(a, "gru", "jrnn", "haiku"))
            for a in (params.w_x, params.w_h, b_x)
        )
        return {core: {"w_i": w_i, "w_h": w_h, "b": b}}
    if kind == "lstm":
        w = jnp.concatenate([params.w_x, params.w_h])
        b = cells.shift_forget(b_x + b_h, -1.0)
        w, b = (_gates(a, "jrnn", "haiku") for a in (w, b))
        return {f"{core}/linear": {"w": w, "b": b}}
    b_x = cells.shift_forget(b_x, -1.0)
    w_x, w_h, b_x, b_h = (
        _gates(a, "jrnn", "haiku") for a in (params.w_x, params.w_h, b_x, b_h)
    )
    return {
        f"{core}/input_to_hidden": {"w": w_x, "b": b_x},
        f"{core}/hidden_to_hidden": {"w": w_h, "b": b_h},
    }


def _kind(part: Any) -> str:
    """Returns the kind of a layer's cell, which Haiku must be able to compute."""
    if isinstance(part, Bidirectional) or part.reverse:
        raise ValueError(
            "Haiku's cores do not know directions; export each direction by itself, "
            "and unroll it with `hk.dynamic_unroll(..., reverse=True)`."
        )
    kind = cells.kind_of(part.cell, "Haiku")
    if kind in ("gru", "mgu"):
        raise ValueError(
            f"Haiku has no core that computes what {part.cell!r} does. Its GRU applies "
            "the reset gate before the state's product, as `ResetBeforeGRU` does: "
            "another function, whatever the weights."
        )
    if kind == "elman":
        name = layouts.activation_name(part.cell.activation, "Haiku")
        if name != "relu":
            raise ValueError(f"Haiku's VanillaRNN computes with relu, not {name}.")
    else:
        layouts.usual(part.cell, "Haiku")
    if kind == "conv_lstm":
        cells.check_plain_convolution(part.cell, "Haiku")
    return kind


def _default_name(cell: Any) -> str:
    kind = cells.kind_of(cell, "Haiku")
    return NAMES.get(kind) or f"conv{len(cell.kernel_size)}_d_lstm"


def _negated(a: Array) -> Array:
    """Turns the first block, z, around: 1 - sigmoid(a) = sigmoid(-a)."""
    size = a.shape[-1] // 3
    return a.at[..., :size].multiply(-1)


def _gates(a: Array, source: str, target: str) -> Array:
    return layouts.reorder(a, "lstm", source, target)
