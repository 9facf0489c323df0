"""Flax nnx modules as jrnn layers."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jrnn.interop import foreign
from jrnn.types import Array, DType, Params, PRNGKey, Shape, value


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
