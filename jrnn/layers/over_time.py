"""How the outputs of layers depend on time, and which layers may follow each other."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp

from jrnn import checks
from jrnn.layers.dropout import Dropout
from jrnn.types import OVER_TIME, Layer, Params, PRNGKey, State


def joined(layers: Sequence[Layer]) -> str:
    """Returns how the outputs of layers that run one after the other depend on time."""
    found = [layer.over_time for layer in layers]
    return max(found, key=OVER_TIME.index, default=OVER_TIME[0])


def check_order(name: str, layers: Sequence[Layer]) -> None:
    """Raises if a layer cannot follow the layers before it.

    Raises:
      ValueError: if a layer needs time steps that an earlier one reduced to one output,
        or one array where an earlier one returns a pair.
    """
    last = None
    for number, layer in enumerate(layers):
        if last is not None and layer.over_time != "pointwise":
            raise ValueError(
                f"Layer {number} of {name}, {layer!r}, needs a time axis, but {last!r} "
                "before it returns one output for a whole sequence. Remove "
                "return_sequence=False there, or set it only in the last recurrent "
                "layer."
            )
        if layer.over_time == "reduce":
            last = layer
        previous = layers[number - 1] if number else None
        if layer.over_time == "pointwise":
            refuse_pair(f"Layer {number} of {name}, {layer!r},", previous)


def refuse_pair(who: str, layer: Any) -> None:
    """Raises if a layer, whose output `who` needs, returns a pair."""
    if returns_pair(layer):
        raise ValueError(
            f"{who} needs one array, but {layer!r} returns the pair of outputs of both "
            "directions. Choose a merge, such as merge='concat' or merge='sum'."
        )


def returns_pair(layer: Any) -> bool:
    """Whether a layer is, or ends with, a `Bidirectional` that does not merge."""
    inner = getattr(layer, "layers", None)
    if hasattr(layer, "merge"):
        return layer.merge is None
    return bool(isinstance(inner, tuple) and inner and returns_pair(inner[-1]))


def require_causal(layer: Layer, who: str, recover: str) -> None:
    """Raises unless no output of a layer depends on later steps.

    Args:
      layer: The layer, of which the inner layer at fault is named.
      who: What requires it, and why.
      recover: What to do instead.

    Raises:
      ValueError: if an output depends on later steps.
    """
    if layer.over_time in ("pointwise", "causal"):
        return
    culprit = layer
    while True:
        inner = [part for part in inner_layers(culprit) if not _causal(part)]
        if not inner:
            break
        culprit = inner[0]
    reason = "its outputs depend on later steps"
    if culprit.over_time == "reduce":
        reason = "it has one output for a whole sequence"
    raise ValueError(f"{who}, which {culprit!r} does not allow: {reason}. {recover}")


def fields_with_layers(layer: Any) -> dict[str, Any]:
    """Returns the fields of a layer that hold layers, one or a tuple of them."""
    if not dataclasses.is_dataclass(layer):
        return {}
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    return {
        name: field
        for name, field in fields.items()
        if isinstance(field, Layer)
        or (isinstance(field, tuple) and field and isinstance(field[0], Layer))
    }


def inner_layers(layer: Any) -> list[Layer]:
    """Returns the layers in the fields of a layer."""
    found: list[Layer] = []
    for field in fields_with_layers(layer).values():
        found += field if isinstance(field, tuple) else [field]
    return found


def feature_axes(layer: Layer) -> int:
    """Returns the number of axes of one step of the input of a layer.

    If a layer does not define it, it is that of the first layer inside that does.
    """
    return next(_feature_axes(layer), 1)


def _feature_axes(layer: Any) -> Iterator[int]:
    if isinstance(layer, Dropout) and not layer.locked:
        return  # it takes steps with any number of axes
    if hasattr(layer, "feature_axes"):
        yield layer.feature_axes
    for inner in inner_layers(layer):
        yield from _feature_axes(inner)


def apply_without_time(
    layer: Layer, params: Params, state: State, xs: Any, key: PRNGKey | None
) -> tuple[State, Any]:
    """Applies a pointwise layer to [*batch, features], as to a single time step."""
    checks.array("xs", xs)
    axis = xs.ndim - feature_axes(layer)
    state, ys = layer.apply(params, state, jnp.expand_dims(xs, axis), key=key)
    return state, jnp.squeeze(ys, axis)


def _causal(layer: Layer) -> bool:
    return layer.over_time in ("pointwise", "causal")
