"""Flax nnx: jrnn cells and layers as nnx modules, and nnx modules as layers."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jrnn import scanning
from jrnn.interop import flax_weights
from jrnn.interop.flax_weights import (
    state_from_flax as state_from_flax,
    state_to_flax as state_to_flax,
)
from jrnn.interop.nnx_layers import FromNNX as FromNNX
from jrnn.types import Array, Cell, DType, Layer, Params, PRNGKey, Shape, State

from_params = flax_weights.nnx_from_params
to_params = flax_weights.nnx_to_params

Streams = nnx.Rngs | nnx.RngStream


class NNXCell(nnx.RNNCellBase):
    """A jrnn cell as an nnx cell, for `nnx.RNN` and `nnx.Bidirectional`.

    `NNXLayer(jrnn.Recurrent(cell), ...)` does more: masks, resets, inputs projected
    before the loop, inputs sharded over explicit meshes. A cell is for code that has a
    loop of its own.

    Noise is drawn from the stream "dropout" while `deterministic` is False, anew at
    each step of `nnx.RNN`, or once for all steps with `broadcast_rngs="dropout"`.

    Attributes:
      cell: The jrnn cell.
      params: Its parameters: the cell's own tree, with an `nnx.Param` for each array.
      deterministic: Whether to draw no noise; `module.eval()` sets it.
      rngs: The stream of noise, or None.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.nnx import NNXCell
      >>> model = nnx.RNN(NNXCell(jrnn.LSTM(4), in_features=3, rngs=nnx.Rngs(0)))
      >>> model(jnp.ones((2, 5, 3))).shape
      (2, 5, 4)
      >>> sorted(nnx.state(model, nnx.Param)["cell"]["params"])
      ['b_x', 'w_h', 'w_x']
    """

    def __init__(
        self,
        cell: Cell,
        in_features: int,
        *,
        rngs: nnx.Rngs,
        param_dtype: DType = jnp.float32,
    ):
        self.cell = cell
        self.params = _parameters(cell, in_features, rngs, param_dtype)
        self.deterministic = False
        self.rngs = _stream(rngs)

    def __call__(self, carry: State, inputs: Any) -> tuple[State, Array]:
        """Returns the state after one step, and the output."""
        key = None if self.deterministic else _draw(self.rngs)
        return scanning.step(self.cell, arrays(self.params), carry, inputs, key=key)

    def initialize_carry(
        self,
        input_shape: Shape,
        rngs: Streams | None = None,
        carry_init: Any = None,
    ) -> State:
        """Returns the cell's initial state for inputs [*batch, features].

        Nothing is drawn: a state that is not zero belongs to the cell.
        """
        del rngs, carry_init
        batch = input_shape[: len(input_shape) - self.cell.feature_axes]
        return self.cell.initial_state(arrays(self.params), batch)

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of an input."""
        return self.cell.feature_axes


class NNXLayer(nnx.Module):
    """A jrnn layer, a whole model even, as an nnx module that keeps jrnn's own scan.

    Noise is drawn from the stream "dropout" while `deterministic` is False.

    Attributes:
      layer: The jrnn layer.
      params: Its parameters: the layer's own tree, with an `nnx.Param` for each array.
        `arrays(module.params)` is the tree that jrnn takes.
      deterministic: Whether to draw no noise; `module.eval()` sets it.
      rngs: The stream of noise, or None.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.nnx import NNXLayer
      >>> rngs = nnx.Rngs(0)
      >>> model = nnx.Sequential(
      ...     nnx.Embed(7, 3, rngs=rngs),
      ...     NNXLayer(jrnn.Recurrent(jrnn.LSTM(4)), in_features=3, rngs=rngs),
      ...     nnx.Linear(4, 7, rngs=rngs),
      ... )
      >>> model(jnp.zeros((2, 5), int)).shape
      (2, 5, 7)
    """

    def __init__(
        self,
        layer: Layer,
        in_features: int,
        *,
        rngs: nnx.Rngs,
        param_dtype: DType = jnp.float32,
    ):
        self.layer = layer
        self.params = _parameters(layer, in_features, rngs, param_dtype)
        self.deterministic = False
        self.rngs = _stream(rngs)

    def __call__(
        self,
        xs: Any,
        *,
        state: State | None = None,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        return_state: bool = False,
        rngs: Streams | None = None,
    ) -> Any:
        """Applies the layer; the arguments are those of `jrnn.scan`.

        Returns:
          The outputs; with `return_state`, the state after the sequence and the
          outputs.
        """
        noise = self.rngs if rngs is None else rngs
        state, ys = self.layer.apply(
            arrays(self.params),
            state,
            xs,
            lengths=lengths,
            mask=mask,
            reset=reset,
            key=None if self.deterministic else _draw(noise),
        )
        return (state, ys) if return_state else ys


def arrays(params: Any) -> Params:
    """Returns a module's tree of `nnx.Param` as the tree of arrays that jrnn takes.

    Example:
      >>> import jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.nnx import NNXLayer, arrays
      >>> module = NNXLayer(jrnn.Dense(4), in_features=3, rngs=nnx.Rngs(0))
      >>> arrays(module.params).w.shape
      (3, 4)
    """
    return jax.tree.map(
        lambda leaf: leaf[...] if isinstance(leaf, nnx.Variable) else leaf,
        params,
        is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
    )


def params_of(params: Params) -> Any:
    """Returns the tree of `nnx.Param` that a module holds for a tree of arrays.

    Example:
      >>> import jax, jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.nnx import NNXLayer, params_of
      >>> module = NNXLayer(jrnn.Dense(4), in_features=3, rngs=nnx.Rngs(0))
      >>> trained = jrnn.Dense(4).init(jax.random.key(1), input_size=3)
      >>> module.params = params_of(trained)
    """
    return nnx.data(jax.tree.map(nnx.Param, params))


def _parameters(maker: Any, in_features: int, rngs: nnx.Rngs, dtype: DType) -> Any:
    return params_of(maker.init(rngs.params(), in_features, dtype))


def _stream(rngs: nnx.Rngs) -> Any:
    """Returns a stream of noise of the module's own; None if there is none to take."""
    return rngs.dropout.fork() if hasattr(rngs, "dropout") else nnx.data(None)


def _draw(noise: Streams | None) -> PRNGKey | None:
    if noise is None:
        return None
    return noise.dropout() if isinstance(noise, nnx.Rngs) else noise()
