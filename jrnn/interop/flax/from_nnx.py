"""Flax nnx modules as layers of jrnn."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jrnn import checks
from jrnn.interop.common import modules
from jrnn.types import OVER_TIME, Array, DType, Params, PRNGKey, Shape
from jrnn.values import value


@value
class FromNNX:
    """An nnx module as a jrnn layer without a state, for `jrnn.Sequential`.

    An nnx module contains its arrays, so the layer has a function that builds the
    module. Parameters are nested dictionaries of arrays. Padded inputs are zero for the
    module, and padded outputs are zero after it. If `apply` has a key, the module is in
    training and the key seeds its streams. Without a key it is in evaluation, as after
    `module.eval()`.

    Attributes:
      build: The function (input_size, rngs) -> module. Define it at module level, so
        that two layers with the same function are equal. The module has parameters
        only: no batch statistics, no cache.
      output_size: The number of features that it returns; None for that of its input.
      call: The function `(module, xs, *, mask, train) -> ys` that calls the module.
        `mask` contains which steps are valid, [*batch, time] or None for all, and
        `train` is whether the module is in training.
      over_time: How outputs depend on time, as in `jrnn.Layer`: "sequence" allows all;
        "pointwise" and "causal" promise more. Generation and methods that run along a
        sequence need one of these.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> from flax import nnx
      >>> from jrnn.interop.flax import FromNNX
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
    call: Callable[..., Array] = modules.call_module
    over_time: str = "sequence"

    def __post_init__(self) -> None:
        checks.one_of("over_time", self.over_time, OVER_TIME)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> Params:
        """Draws the parameters of the module."""
        module = self.build(input_size, nnx.Rngs(key))
        kinds = [
            type(leaf).__name__
            for _, leaf in nnx.to_flat_state(nnx.state(module))
            if not isinstance(leaf, nnx.RngState)
        ]
        modules.check_only_params(kinds, "Param")
        params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
        return modules.cast_floating(params, dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> tuple[()]:
        """Returns an empty tuple, as there is no state."""
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
        """Applies the module to the whole sequence. It ignores resets."""
        del state, reset
        module = _rebuild(self.build, modules.input_size(xs), params, key)

        def call(xs: Array, keep: Array | None) -> Array:
            return self.call(module, xs, mask=keep, train=key is not None)

        return (), modules.apply_with_padding(call, xs, lengths, mask, self.output_size)


@functools.lru_cache(maxsize=64)
def _graph_and_shapes(build: Callable[..., nnx.Module], input_size: int) -> Any:
    """Returns the graph of a module, and the shapes of its parameters and streams."""
    module = nnx.eval_shape(lambda: build(input_size, nnx.Rngs(0)))
    return nnx.split(module, nnx.Param, nnx.RngState)


def _rebuild(
    build: Callable[..., nnx.Module],
    input_size: int,
    params: Params,
    key: PRNGKey | None,
) -> nnx.Module:
    graph, shapes, streams = _graph_and_shapes(build, input_size)
    state = jax.tree.map(lambda leaf: leaf, shapes)  # a copy, as the next line fills it
    nnx.replace_by_pure_dict(state, params)
    root = jax.random.key(0) if key is None else key
    leaves, structure = jax.tree.flatten(streams)
    seeded = [
        jax.random.split(jax.random.fold_in(root, number), leaf.shape)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else jnp.zeros(leaf.shape, leaf.dtype)
        for number, leaf in enumerate(leaves)
    ]
    module = nnx.merge(graph, state, jax.tree.unflatten(structure, seeded))
    if key is None:
        module.eval()
    else:
        module.train()
    return module
