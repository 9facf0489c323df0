"""Models as StableHLO artefacts, to be run where jrnn is not installed."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from jrnn import checks
from jrnn.interop import leaves
from jrnn.types import Array, DType, Layer, Params, Shape

# What a layer takes besides parameters and inputs, with its axes.
TAKES = {"state": "", "lengths": "b", "mask": "b, t", "reset": "b, t"}


def export_layer(
    layer: Layer,
    params: Params,
    input_size: int | Shape,
    *,
    takes: Sequence[str] = (),
    dtype: DType = jnp.float32,
    platforms: Sequence[str] | None = None,
) -> jax.export.Exported:
    """Compiles a layer, for any batch size and time, to what `jax.export` stores.

        exported.call(weights, xs, **takes) -> (state, ys)

    `xs` are [batch, time, features]. Nothing in the artefact is jrnn's: weights and
    states are dictionaries of arrays by name, as `leaves.pack` makes them, so that
    `numpy.savez(path, **leaves.pack(params))` stores the weights. Without "state" among
    what it takes, it starts from the initial state; with it, it continues from a state
    that it returned. It runs in evaluation.

    Args:
      layer: The layer; a model is one.
      params: Its parameters; only their shapes and dtypes matter.
      input_size: The number of input features; 0 for inputs that are integer ids
        [batch, time], and all sizes of one step for images.
      takes: Names of further arguments: any of "state", "lengths", "mask", "reset".
      dtype: The dtype of the inputs, unless they are ids.
      platforms: Names of platforms to compile for, such as "cpu", "cuda", "tpu"; None
        for that of this process.

    Returns:
      The artefact. `serialize(vjp_order=1)` gives its bytes, gradients included, and
      `jax.export.deserialize(data)` reads them.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop import leaves
      >>> from jrnn.interop.export import export_layer
      >>> model = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(4)), jrnn.Dense(2))
      >>> params = model.init(jax.random.key(0), input_size=3)
      >>> data = export_layer(model, params, input_size=3).serialize(vjp_order=1)
      >>> artefact = jax.export.deserialize(data)
      >>> state, ys = artefact.call(leaves.pack(params), jnp.ones((2, 5, 3)))
      >>> ys.shape, sorted(state)
      ((2, 5, 2), ['0.c', '0.h'])
    """
    for name in takes:
        checks.one_of("an entry of takes", name, TAKES)
    batch: Any
    batch, time = jax.export.symbolic_shape("b, t")
    axes = {"b": (batch,), "b, t": (batch, time)}
    kinds = {"lengths": jnp.int32, "mask": jnp.bool_, "reset": jnp.bool_}

    state_like = jax.eval_shape(lambda p: layer.initial_state(p, (batch,)), params)
    extra: dict[str, Any] = {
        name: jax.ShapeDtypeStruct(axes[TAKES[name]], kinds[name])
        for name in takes
        if name != "state"
    }
    if "state" in takes:
        extra["state"] = leaves.pack(state_like)

    def run(
        weights: dict[str, Array],
        xs: Array,
        state: dict[str, Array] | None = None,
        **how: Array,
    ) -> tuple[dict[str, Array], Any]:
        before = None if state is None else leaves.unpack(state_like, state)
        after, ys = layer.apply(leaves.unpack(params, weights), before, xs, **how)
        return leaves.pack(after), ys

    one_step = input_size if isinstance(input_size, tuple) else (input_size,)
    xs_like = (
        jax.ShapeDtypeStruct((batch, time, *one_step), dtype)
        if input_size
        else jax.ShapeDtypeStruct((batch, time), jnp.int32)
    )
    weights_like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), leaves.pack(params)
    )
    compiled = jax.export.export(jax.jit(run), platforms=platforms)
    return compiled(weights_like, xs_like, **extra)
