"""Weights and states of the recurrent modules of Flax, in Linen and NNX.

All functions here work on nested dictionaries of arrays. Flax does not need to be
installed. Options such as `reverse` and `merge_fn` cannot be read from weights; set
them in the jrnn layer yourself.
"""

from collections.abc import Mapping
from typing import Any

from jrnn.cells import activations
from jrnn.interop.common.build import kind_of, no_such_cell
from jrnn.interop.common.states import state_from, state_to
from jrnn.interop.flax import param_trees
from jrnn.interop.flax.options import of_module
from jrnn.types import Activation, Layer, Params, Shape, State


def from_linen_params(
    params: Mapping[str, Any],
    *,
    gate: Activation = activations.sigmoid,
    activation: Activation = activations.tanh,
    residual: bool = False,
    module: Any = None,
    spatial: Shape | None = None,
) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from the parameters of a Linen module.

    Args:
      params: The parameters of an `nn.RNN`, an `nn.Bidirectional`, an `nn.Sequential`
        of these, or of a cell: `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell`,
        `GRUCell`, `MGUCell` or `ConvLSTMCell`; with or without the outer "params".
      gate: The cells' `gate_fn`.
      activation: The cells' `activation_fn`.
      residual: Whether a `SimpleCell` has `residual=True`, which cannot be read from
        its parameters. The residual connection becomes the identity matrix, added to
        the recurrent weights.
      module: The module of the parameters. The three options above are read from it.
      spatial: Spatial sizes of the images that a `ConvLSTMCell` reads.

    Returns:
      A `Recurrent` or `Bidirectional`, or a `Sequential` of several; and its
      parameters.

    Raises:
      ValueError: if weights are missing, unknown, or do not fit each other.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop import flax
      >>> ones = lambda *shape: np.ones(shape, "float32")
      >>> layer, params = flax.from_linen_params({"cell": {
      ...     "i": {"kernel": ones(3, 4), "bias": ones(4)},
      ...     "h": {"kernel": ones(4, 4)},
      ... }})
      >>> layer
      Recurrent(cell=Elman(hidden_size=4))
    """
    given = {"gate": gate, "activation": activation, "residual": residual}
    options = of_module(module, given)

    def read(tree: Mapping[str, Any]) -> tuple[Any, Params]:
        return param_trees.read_linen(tree, options, spatial)

    tree = params["params"] if set(params) == {"params"} else params
    return param_trees.read_layers(tree, read)


def to_linen_params(layer: Layer, params: Params) -> dict[str, Any]:
    """Returns the parameters of a layer for a Linen module of the same cells.

    Args:
      layer: A `Recurrent` or `Bidirectional` of an `Elman`, `LSTM`, `GRU`, `MGU` or
        `ConvLSTM`, or a `Sequential` of several.
      params: Its parameters.

    Returns:
      The entry "params" of the variables of `nn.RNN(cell)`, `nn.Bidirectional(...)` or
      `nn.Sequential([...])`. In that of `nn.RNN`, the entry "cell" is for the cell
      alone. Flax's biases are zero where the cell has no bias.

    Raises:
      ValueError: if Flax has no cell that computes the same.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import flax
      >>> layer = jrnn.Recurrent(jrnn.GRU(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> sorted(flax.to_linen_params(layer, params)["cell"])
      ['hn', 'hr', 'hz', 'in', 'ir', 'iz']
    """
    written = param_trees.write_layers(layer, params, param_trees.write_linen)
    if None in written:
        return written[None]
    return {f"layers_{index}": tree for index, tree in written.items()}


def from_nnx_params(
    params: Mapping[str, Any],
    *,
    gate: Activation = activations.sigmoid,
    activation: Activation = activations.tanh,
    residual: bool = False,
    module: Any = None,
) -> tuple[Layer, Params]:
    """Builds a layer and its parameters from the parameters of an NNX module.

    Args:
      params: `nnx.state(module, nnx.Param)` of an `nnx.RNN`, an `nnx.Bidirectional`, an
        `nnx.Sequential` of these, or of a cell: `SimpleCell`, `LSTMCell`,
        `OptimizedLSTMCell` or `GRUCell`; or a nested dictionary of the same arrays.
      gate: The cells' `gate_fn`.
      activation: The cells' `activation_fn`.
      residual: Whether a `SimpleCell` has `residual=True`, as in `from_linen_params`.
      module: The module of the parameters. The three options above are read from it.

    Returns:
      The layer and its parameters, as from `from_linen_params`. The `b_h` of a GRU is
      None, because NNX has no bias under the reset gate.

    Raises:
      ValueError: if weights are missing, unknown, or do not fit each other.

    Example:
      >>> import numpy as np
      >>> from jrnn.interop import flax
      >>> ones = lambda *shape: np.ones(shape, "float32")
      >>> layer, params = flax.from_nnx_params({"cell": {
      ...     "dense_i": {"kernel": ones(3, 12), "bias": ones(12)},
      ...     "dense_h": {"kernel": ones(4, 12)},
      ... }})
      >>> layer
      Recurrent(cell=GRU(hidden_size=4))
    """
    given = {"gate": gate, "activation": activation, "residual": residual}
    options = of_module(module, given)

    def read(tree: Mapping[str, Any]) -> tuple[Any, Params]:
        if "ii" in tree:
            renamed = {("if" if k == "if_" else k): v for k, v in tree.items()}
            return param_trees.read_linen(renamed, options)
        return param_trees.read_fused(tree, options)

    return param_trees.read_layers(params, read)


def to_nnx_params(
    layer: Layer, params: Params, *, optimized: bool = True
) -> dict[str, Any]:
    """Returns the parameters of a layer for an NNX module of the same cells.

    Args:
      layer: A `Recurrent` or `Bidirectional` of an `Elman`, `LSTM` or `GRU`, or a
        `Sequential` of several.
      params: Its parameters.
      optimized: Whether the module of an LSTM is `OptimizedLSTMCell`, which joins the
        weights of all gates, or `LSTMCell`.

    Returns:
      A nested dictionary of arrays, for `nnx.update(module, ...)`.

    Raises:
      ValueError: if NNX has no cell that computes the same. The GRU of NNX has no bias
        under the reset gate, so `b_h` must be zero there.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import flax
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> flax.to_nnx_params(layer, params)["cell"]["dense_h"]["kernel"].shape
      (4, 16)
    """

    def write(cell: Any, arrays: Any) -> dict[str, Any]:
        kind = kind_of(cell, "NNX")
        if kind not in param_trees.FUSED.values():
            raise no_such_cell(cell, "NNX")
        if kind == "lstm" and not optimized:
            tree = param_trees.write_linen(cell, arrays)
            return {("if_" if k == "if" else k): v for k, v in tree.items()}
        return param_trees.write_fused(cell, arrays, kind)

    written = param_trees.write_layers(layer, params, write)
    return written.get(None, {"layers": written})


def state_from_flax(layer: Layer, carry: Any) -> State:
    """Returns the state of a layer for the carry of the Flax module.

    Args:
      layer: As for `to_linen_params`.
      carry: For an LSTM (c, h), in this order; for other cells h; for
        `nn.Bidirectional` a pair of these. For a `Sequential`, a list with one entry
        per recurrent layer.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from jrnn.interop import flax
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> state = flax.state_from_flax(layer, (jnp.ones(4), jnp.zeros(4)))
      >>> float(state.c.sum()), float(state.h.sum())
      (4.0, 0.0)
    """
    return state_from(layer, carry, "Flax", ("c", "h"))


def state_to_flax(layer: Layer, state: State) -> Any:
    """Returns the state of a layer as the carry of the Flax module.

    Example:
      >>> import jax, jrnn
      >>> from jrnn.interop import flax
      >>> layer = jrnn.Recurrent(jrnn.LSTM(4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> state = layer.initial_state(params, (2,))
      >>> c, h = flax.state_to_flax(layer, state)
    """
    return state_to(layer, state, "Flax", ("c", "h"))
