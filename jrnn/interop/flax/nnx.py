"""Cells and layers of jrnn as nnx modules, and nnx modules as layers of jrnn."""

from typing import Any

import jax
from flax import nnx

from jrnn import scanning
from jrnn.interop.flax.from_nnx import FromNNX as FromNNX
from jrnn.types import Array, Cell, DType, Layer, Params, PRNGKey, Shape, State

Streams = nnx.Rngs | nnx.RngStream


class NNXCell(nnx.RNNCellBase):
    """A jrnn cell as an nnx cell, for `nnx.RNN` and `nnx.Bidirectional`.

    Use it in code that has its own loop. Otherwise `NNXLayer(jrnn.Recurrent(cell))` is
    better: it has masks and resets, it hoists the input matmul out of the loop, and its
    inputs can be sharded over explicit meshes.

    The cell draws noise from the stream "dropout" while `deterministic` is False: at
    each step of `nnx.RNN`, or once for all steps with `broadcast_rngs="dropout"`.

    Attributes:
      cell: The jrnn cell.
      params: Its parameters: the cell's tree with an `nnx.Param` for each array.
      deterministic: Whether to draw no noise. `module.eval()` sets it.
      rngs: The stream of noise, or None.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.flax import NNXCell
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
        param_dtype: DType = float,
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

        The arguments `rngs` and `carry_init` are ignored: the cell defines its state.
        """
        del rngs, carry_init
        batch = input_shape[: len(input_shape) - self.cell.feature_axes]
        return self.cell.initial_state(arrays(self.params), batch)

    @property
    def num_feature_axes(self) -> int:
        """The number of feature axes of an input."""
        return self.cell.feature_axes


class NNXLayer(nnx.Module):
    """A jrnn layer or model as an nnx module that runs jrnn's own scan.

    The layer draws noise from the stream "dropout" while `deterministic` is False.

    Attributes:
      layer: The jrnn layer.
      params: Its parameters: the layer's tree with an `nnx.Param` for each array.
        `arrays(module.params)` is the tree that jrnn takes.
      deterministic: Whether to draw no noise. `module.eval()` sets it.
      rngs: The stream of noise, or None.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.flax import NNXLayer
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
        param_dtype: DType = float,
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
        """Applies the layer. The arguments are the same as for `jrnn.scan`.

        Returns:
          The outputs. With `return_state`, the state after the last step, and the
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
    """Returns the tree of arrays that jrnn takes, for a tree of `nnx.Param`.

    Example:
      >>> import jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.flax.nnx import NNXLayer, arrays
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
    """Returns the tree of `nnx.Param` that a module holds, for a tree of arrays.

    Example:
      >>> import jax, jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.flax.nnx import NNXLayer, params_of
      >>> module = NNXLayer(jrnn.Dense(4), in_features=3, rngs=nnx.Rngs(0))
      >>> trained = jrnn.Dense(4).init(jax.random.key(1), input_size=3)
      >>> module.params = params_of(trained)
    """
    return nnx.data(jax.tree.map(nnx.Param, params))


def _parameters(maker: Any, in_features: int, rngs: nnx.Rngs, dtype: DType) -> Any:
    return params_of(maker.init(rngs.params(), in_features, dtype))


def _stream(rngs: nnx.Rngs) -> Any:
    """Returns a stream of noise for one module; None if `rngs` has no such stream."""
    return rngs.dropout.fork() if hasattr(rngs, "dropout") else nnx.data(None)


def _draw(noise: Streams | None) -> PRNGKey | None:
    if noise is None:
        return None
    return noise.dropout() if isinstance(noise, nnx.Rngs) else noise()
