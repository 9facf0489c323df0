"""The state of one model from a vector or from the state of another."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers, options
from jrnn.cells.affine import affine
from jrnn.cells.attention import AttentionState
from jrnn.types import Array, DType, Layer, Params, PRNGKey, State
from jrnn.values import exportable, value


@exportable
class BridgeParams(NamedTuple):
    """Weights and biases for each leaf of the state."""

    w: tuple[Array, ...]  # [F, size of the leaf]
    b: tuple[Array, ...]


@value
class Bridge:
    """The initial state of a layer, computed from a vector.

        leaf = tanh(x w_leaf + b_leaf)        for every leaf that the first step reads

    If the vector is a one-hot category, the layer becomes a conditional generator. If
    it is the final state of an encoder, the layer becomes its decoder [1].

    Attributes:
      layer: The layer whose state is computed.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> model = jrnn.Sequential(
      ...     jrnn.Embed(7, 4), jrnn.Recurrent(jrnn.GRU(5)), jrnn.Dense(7)
      ... )
      >>> keys = jax.random.split(jax.random.key(0))
      >>> params, bridge = model.init(keys[0]), jrnn.Bridge(model)
      >>> bridge_params = bridge.init(keys[1], 3, params)
      >>> x = jax.nn.one_hot(jnp.array([0, 2]), 3)
      >>> state = bridge.apply(bridge_params, params, x)
      >>> state[1].h.shape
      (2, 5)

    References:
      [1] Cho et al., 2014, https://arxiv.org/abs/1406.1078
    """

    layer: Layer

    def __post_init__(self) -> None:
        options.check(self)

    def init(
        self, key: PRNGKey, input_size: int, params: Params, dtype: DType = float
    ) -> BridgeParams:
        """Draws LeCun normal weights and zero biases.

        Args:
          key: Source of randomness.
          input_size: The number of features of the vector.
          params: The parameters of the layer, which determine the shape of its state.
          dtype: The dtype of the parameters.
        """
        input_size = checks.integer("input_size", input_size, 1)
        leaves = jax.tree.leaves(_state_read(self.layer, params))
        keys = checks.split_key(key, max(1, len(leaves)))
        w, b = [], []
        for leaf_key, leaf in zip(keys, leaves, strict=False):
            draw = initializers.lecun_normal
            w.append(draw(leaf_key, input_size, leaf.size, 1, dtype))
            b.append(jnp.zeros(leaf.size, dtype))
        return BridgeParams(tuple(w), tuple(b))

    def apply(self, params: BridgeParams, layer_params: Params, x: Array) -> State:
        """Returns the state of the layer, from a vector [*batch, features]."""
        leaves, structure = jax.tree.flatten(_state_read(self.layer, layer_params))
        checks.count("params.w", params.w, len(leaves), "one per leaf of the state")
        x, made = jnp.asarray(x), []
        for w, b, leaf in zip(params.w, params.b, leaves, strict=True):
            flat = jnp.tanh(affine(x, w, b))
            made.append(flat.reshape(*x.shape[:-1], *leaf.shape).astype(leaf.dtype))
        return _with_contexts(
            jax.tree.unflatten(structure, made),
            self.layer.initial_state(layer_params, x.shape[:-1]),
        )


def copy_state(source: State, layer: Layer, params: Params) -> State:
    """Returns a state of a layer that holds the leaves of another state, in order.

    Raises:
      ValueError: if the states do not have leaves of the same sizes.
    """
    leaves, structure = jax.tree.flatten(jax.eval_shape(layer.initial_state, params))
    given = jax.tree.leaves(source)
    fits = len(given) == len(leaves) and all(
        a.shape[a.ndim - b.ndim :] == b.shape
        for a, b in zip(given, leaves, strict=True)
    )
    if not fits:
        raise ValueError(
            "the final state of the encoder does not fit the decoder: its leaves are "
            f"{[list(leaf.shape) for leaf in given]}, and those of the decoder are, "
            f"for one example, {[list(leaf.shape) for leaf in leaves]}. Use "
            "bridge='dense', which maps any state to any other, or bridge=None."
        )
    return jax.tree.unflatten(structure, given)


def _state_read(layer: Layer, params: Params) -> Any:
    """Returns the shapes of one example's state, without what no step reads.

    A cell with attention writes its context before it reads it.
    """
    return jax.tree.map(
        lambda node: node._replace(context=None) if _attends(node) else node,
        jax.eval_shape(layer.initial_state, params),
        is_leaf=_attends,
    )


def _with_contexts(state: State, initial: State) -> State:
    """Fills in what `_state_read` leaves out, from the initial state."""
    return jax.tree.map(
        lambda node, own: (
            node._replace(context=own.context) if _attends(node) else node
        ),
        state,
        initial,
        is_leaf=_attends,
    )


def _attends(node: Any) -> bool:
    return isinstance(node, AttentionState)
