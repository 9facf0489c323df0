"""Flax nnx: jrnn cells and layers as nnx modules, and nnx modules as layers."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jrnn import scanning
from jrnn.interop import foreign
from jrnn.types import (
    Array,
    Cell,
    DType,
    Layer,
    Params,
    PRNGKey,
    Shape,
    State,
    value,
)

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


@value
class FromNNX:
    """An nnx module as a jrnn layer without a state, for `jrnn.Sequential`.

    An nnx module holds its arrays, so the layer keeps what builds one; parameters are
    nested dictionaries of arrays. Padded inputs are set to zero before the module and
    padded outputs after it. With a key the module is in training, and the key seeds its
    streams; without one it is in evaluation, as after `module.eval()`.

    Attributes:
      build: Function (input_size, rngs) -> module; at module level, so that layers are
        equal by value. The module has parameters only: no batch statistics, no cache.
      output_size: Number of features it returns; None for that of its input.
      call: Function `(module, xs, *, mask, train) -> ys` that calls the module: where
        it needs to know which steps are valid, [*batch, time] or None for all, or
        whether this is training.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.nnx import FromNNX
      >>> def norm(input_size, rngs):
      ...     return nnx.RMSNorm(input_size, rngs=rngs)
      >>> model = jrnn.Sequential(jrnn.Recurrent(jrnn.GRU(4)), FromNNX(norm))
      >>> params = model.init(jax.random.key(0), input_size=3)
      >>> state, ys = model.apply(params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)
    """

    build: Callable[[int, nnx.Rngs], nnx.Module]
    output_size: int | None = None
    call: Callable[..., Array] = foreign.plain_call

    def init(self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32) -> Params:
        """Draws the parameters of the module."""
        module = self.build(input_size, nnx.Rngs(key))
        kinds = [
            type(leaf).__name__
            for _, leaf in nnx.to_flat_state(nnx.state(module))
            if not isinstance(leaf, nnx.RngState)
        ]
        foreign.only_params(kinds, "Param")
        params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
        return foreign.cast(params, dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> tuple[()]:
        """Returns nothing: there is no state."""
        del params, batch_shape
        return ()

    def apply(
        self,
        params: Params,
        state: Any,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[()], Array]:
        """Applies the module to the whole sequence; it does not see resets."""
        del state, reset
        floating = jnp.issubdtype(xs.dtype, jnp.inexact)
        module = _rebuild(self.build, xs.shape[-1] if floating else 0, params, key)

        def call(xs: Array, keep: Array | None) -> Array:
            return self.call(module, xs, mask=keep, train=key is not None)

        return (), foreign.run(call, xs, lengths, mask, self.output_size)


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


def _parameters(maker: Any, in_features: int, rngs: nnx.Rngs, dtype: DType) -> Any:
    drawn = maker.init(rngs.params(), in_features, dtype)
    return nnx.data(jax.tree.map(nnx.Param, drawn))


def _stream(rngs: nnx.Rngs) -> Any:
    """Returns a stream of noise of the module's own; None if there is none to take."""
    return rngs.dropout.fork() if hasattr(rngs, "dropout") else nnx.data(None)


def _draw(noise: Streams | None) -> PRNGKey | None:
    if noise is None:
        return None
    return noise.dropout() if isinstance(noise, nnx.Rngs) else noise()


@functools.lru_cache(maxsize=64)
def _outline(build: Callable[..., nnx.Module], input_size: int) -> Any:
    """Returns the graph of a module, and its parameters and streams without arrays."""
    module = nnx.eval_shape(lambda: build(input_size, nnx.Rngs(0)))
    return nnx.split(module, nnx.Param, nnx.RngState)


def _rebuild(
    build: Callable[..., nnx.Module],
    input_size: int,
    params: Params,
    key: PRNGKey | None,
) -> nnx.Module:
    graph, outline, streams = _outline(build, input_size)
    state = jax.tree.map(lambda leaf: leaf, outline)  # a copy, to be filled
    nnx.replace_by_pure_dict(state, params)
    root = jax.random.key(0) if key is None else key
    parts, structure = jax.tree.flatten(streams)
    seeded = [
        jax.random.split(jax.random.fold_in(root, number), leaf.shape)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else jnp.zeros(leaf.shape, leaf.dtype)
        for number, leaf in enumerate(parts)
    ]
    module = nnx.merge(graph, state, jax.tree.unflatten(structure, seeded))
    if key is None:
        module.eval()
    else:
        module.train()
    return module
