"""The layers of Keras that are not recurrent."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.interop.common.foreign_arrays import check_shape
from jrnn.interop.keras import options
from jrnn.layers import (
    Dense,
    DenseParams,
    Dropout,
    Embed,
    EmbedParams,
    LayerNorm,
    LayerNormParams,
    Map,
)
from jrnn.types import Array, Layer, Params

Config = Mapping[str, Any]
Pair = tuple[Layer, Params]


def read(kind: str, inner: Config, arrays: list[Array], *, keras_2: bool) -> list[Pair]:
    """Returns the layers of jrnn that compute one layer of Keras.

    Args:
      kind: A key of `READERS`.
      inner: Its options.
      arrays: Its weights.
      keras_2: Whether Keras 2 wrote the options.

    Raises:
      ValueError: if there are too few or too many weights, or if jrnn does not have an
        option.
    """
    return READERS[kind]({**inner, "keras_2": keras_2}, arrays)


def softmax(x: Array) -> Array:
    """exp(x), divided by its sum over the features."""
    return jax.nn.softmax(x)


def _dropout(inner: Config, arrays: list[Array]) -> list[Pair]:
    if inner.get("noise_shape") is not None:
        raise ValueError("Dropout must have no noise_shape. Use SpatialDropout1D.")
    return [(Dropout(inner["rate"]), ())]


def _locked_dropout(inner: Config, arrays: list[Array]) -> list[Pair]:
    return [(Dropout(inner["rate"], locked=True), ())]


def _embed(inner: Config, arrays: list[Array]) -> list[Pair]:
    _check_count("Embedding", arrays, 1)
    shape = (inner["input_dim"], inner["output_dim"])
    check_shape("The embeddings", arrays[0], shape)
    if inner.get("mask_zero"):
        _warn("mask=(ids != 0)")
    return [(Embed(*shape), EmbedParams(arrays[0]))]


def _mask(inner: Config, arrays: list[Array]) -> list[Pair]:
    _warn(f"mask=jnp.any(xs != {inner['mask_value']}, -1)")
    return []


def _norm(inner: Config, arrays: list[Array]) -> list[Pair]:
    axis = inner["axis"]
    if axis not in (-1, [-1], 2, [2]) or inner.get("rms_scaling"):
        raise ValueError(f"LayerNormalization must be over the features, got {inner}.")
    scaled, shifted = inner["scale"], inner["center"]
    _check_count("LayerNormalization", arrays, scaled + shifted)
    if not arrays:
        raise ValueError("LayerNormalization must have a scale or a center.")
    scale = arrays[0] if scaled else jnp.ones_like(arrays[0])
    shift = arrays[-1] if shifted else jnp.zeros_like(arrays[0])
    return [(LayerNorm(float(inner["epsilon"])), LayerNormParams(scale, shift))]


def _warn(argument: str) -> None:
    warnings.warn(
        f"The model computes a mask. In jrnn it is an argument: pass `{argument}` to "
        "`apply`.",
        stacklevel=2,
    )


def _check_count(kind: str, arrays: list[Array], needed: int) -> None:
    if len(arrays) != needed:
        raise ValueError(f"{kind} must have {needed} arrays, got {len(arrays)}.")


def _activation(inner: Config, arrays: list[Array]) -> list[Pair]:
    name = inner["activation"]
    if name == "linear":
        return []
    if name == "softmax":
        return [(Map(softmax), ())]
    return [(Map(options.activation(name, inner["keras_2"])), ())]


def _dense(inner: Config, arrays: list[Array]) -> list[Pair]:
    biased, size = inner["use_bias"], inner["units"]
    _check_count("Dense", arrays, 1 + biased)
    check_shape("The kernel", arrays[0], (*arrays[0].shape[:1], size))
    if biased:
        check_shape("The bias", arrays[1], (size,))
    params = DenseParams(arrays[0], arrays[1] if biased else None)
    return [(Dense(size, bias=biased), params), *_activation(inner, [])]


READERS: dict[str, Callable[[Config, list[Array]], list[Pair]]] = {
    "Activation": _activation,
    "Dense": _dense,
    "Dropout": _dropout,
    "Embedding": _embed,
    "InputLayer": lambda inner, arrays: [],
    "LayerNormalization": _norm,
    "Masking": _mask,
    "SpatialDropout1D": _locked_dropout,
}
