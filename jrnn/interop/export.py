"""Models as StableHLO artifacts, which run where jrnn is not installed."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from jrnn import checks
from jrnn.storage import named_arrays
from jrnn.types import Array, DType, Layer, Params, Shape

# Further arguments of a layer, with their axes.
ARGUMENTS = {"state": "", "lengths": "b", "mask": "b, t", "reset": "b, t"}


def export_layer(
    layer: Layer,
    params: Params,
    input_size: int | Shape,
    *,
    takes: Sequence[str] = (),
    dtype: DType = float,
    platforms: Sequence[str] | None = None,
) -> jax.export.Exported:
    """Lowers a layer to what `jax.export` stores, for any batch size and time.

        exported.call(weights, xs, **takes) -> (state, ys)

    `xs` are [batch, time, features]. The artifact contains no types of jrnn: weights
    and states are dictionaries of arrays by name, as `named_arrays.flatten` returns
    them. So `numpy.savez(path, **named_arrays.flatten(params))` stores the weights. The
    artifact starts from the initial state, or from its argument "state" if `takes`
    contains it. It runs in evaluation.

    Args:
      layer: The layer or model.
      params: Its parameters. Only their shapes and dtypes matter.
      input_size: The number of input features; 0 for inputs that are integer ids
        [batch, time]; for images, all sizes of one step.
      takes: Names of further arguments: any of "state", "lengths", "mask", "reset".
      dtype: The dtype of the inputs, unless they are ids.
      platforms: Names of platforms to lower for, such as "cpu", "cuda" and "tpu"; None
        for the platform of this process.

    Returns:
      The artifact. `serialize(vjp_order=1)` returns its bytes, with gradients, and
      `jax.export.deserialize(data)` reads them.

    Raises:
      ValueError: if `takes` contains another name.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.export import export_layer
      >>> from jrnn.storage.named_arrays import flatten
      >>> model = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(4)), jrnn.Dense(2))
      >>> params = model.init(jax.random.key(0), input_size=3)
      >>> data = export_layer(model, params, input_size=3).serialize(vjp_order=1)
      >>> artifact = jax.export.deserialize(data)
      >>> state, ys = artifact.call(flatten(params), jnp.ones((2, 5, 3)))
      >>> ys.shape, sorted(state)
      ((2, 5, 2), ['0.c', '0.h'])
    """
    for name in takes:
        checks.one_of("an element of takes", name, ARGUMENTS)
    batch: Any
    batch, time = jax.export.symbolic_shape("b, t")
    axes = {"b": (batch,), "b, t": (batch, time)}
    kinds = {"lengths": jnp.int32, "mask": jnp.bool_, "reset": jnp.bool_}

    state_like = jax.eval_shape(lambda p: layer.initial_state(p, (batch,)), params)
    extra: dict[str, Any] = {
        name: jax.ShapeDtypeStruct(axes[ARGUMENTS[name]], kinds[name])
        for name in takes
        if name != "state"
    }
    if "state" in takes:
        extra["state"] = named_arrays.flatten(state_like)

    def run(
        weights: dict[str, Array],
        xs: Array,
        state: dict[str, Array] | None = None,
        **how: Array,
    ) -> tuple[dict[str, Array], Any]:
        before = None if state is None else named_arrays.unflatten(state_like, state)
        after, ys = layer.apply(
            named_arrays.unflatten(params, weights), before, xs, **how
        )
        return named_arrays.flatten(after), ys

    one_step = checks.sizes("input_size", input_size, 0)
    xs_like = (
        jax.ShapeDtypeStruct((batch, time, *one_step), dtype)
        if any(one_step)
        else jax.ShapeDtypeStruct((batch, time), jnp.int32)
    )
    weights_like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
        named_arrays.flatten(params),
    )
    compiled = jax.export.export(jax.jit(run), platforms=platforms)
    return compiled(weights_like, xs_like, **extra)
