"""Finds the weights of one recurrent module in the `state_dict` of a larger model."""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jrnn.interop.common.foreign_arrays import check_shape, to_array
from jrnn.types import Array

_WEIGHT = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?P<name>(?:weight|bias)_(?:ih|hh|hr)(?:_l\d+(?:_reverse)?)?)"
)
_NORMED = re.compile(r"(?P<path>.*)_(?P<part>[gv])")
_PARAMETRIZED = re.compile(
    r"(?P<prefix>(?:.*\.)?)parametrizations\.(?P<name>\w+)\.(?P<part>.*)"
)
_FLAT = re.compile(r"_?flat_weights[._]?\d*")
_WRAPPERS = ("module.", "_orig_mod.")  # of `DataParallel` and of `torch.compile`


def recurrent_weights(state_dict: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the weights of one recurrent module, by their names in that module.

    Weight normalization is applied: `torch.nn.utils.weight_norm` and that of
    `torch.nn.utils.parametrizations`. Entries named `flat_weights`, which are copies of
    other weights, are compared with them and left out.

    Args:
      state_dict: The `state_dict()` of the module, or of a model that contains it.
      prefix: The path of the module, such as "encoder.rnn."; "" for the only recurrent
        module. `module.` of `DataParallel` may be left out.

    Returns:
      Arrays by name, such as "weight_ih_l0".

    Raises:
      TypeError: if `state_dict` is not a dictionary of arrays.
      ValueError: if no or several modules below `prefix` are recurrent.

    Example:
      >>> import numpy as np
      >>> model = {
      ...     "rnn.weight_ih_l0": np.ones((8, 3)),
      ...     "rnn.weight_hh_l0": np.ones((8, 2)),
      ...     "head.weight": np.ones((5, 2)),
      ... }
      >>> sorted(recurrent_weights(model, prefix="rnn."))
      ['weight_hh_l0', 'weight_ih_l0']
    """
    _check_mapping(state_dict)
    plain = _plain(state_dict)
    found = {match["prefix"] for name in plain if (match := _WEIGHT.fullmatch(name))}
    chosen = _choose(prefix, found, plain)
    named = {
        name.removeprefix(chosen): value
        for name, value in plain.items()
        if name.startswith(chosen)
    }
    weights = {name: value for name, value in named.items() if not _FLAT.match(name)}
    for name in named.keys() - weights.keys():
        _check_copy(chosen + name, named[name], weights)
    return weights


def _check_mapping(state_dict: Any) -> None:
    """Raises unless it is a dictionary of arrays by name."""
    if callable(getattr(state_dict, "state_dict", None)):
        raise TypeError(
            f"state_dict must be a dictionary, got {type(state_dict).__name__}. Pass "
            "`module.state_dict()`."
        )
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "state_dict must be a dictionary of arrays by name, got "
            f"{type(state_dict).__name__}. Pass `module.state_dict()`."
        )
    inner = [key for key, value in state_dict.items() if isinstance(value, Mapping)]
    if inner:
        models = [
            key
            for key in inner
            if any(_WEIGHT.match(str(each)) for each in _bare(state_dict[key]))
        ]
        raise TypeError(
            f"state_dict is a whole checkpoint with the entries {list(state_dict)}. "
            f"Pass the weights in it, `checkpoint[{(models or inner)[0]!r}]`."
        )


def _bare(state_dict: Mapping[str, Any]) -> list[str]:
    """Returns names without the marks of parametrizations."""
    return [re.sub(r"parametrizations\.", "", str(name)) for name in state_dict]


def _choose(prefix: str, found: set[str], plain: Mapping[str, Any]) -> str:
    """Returns the prefix of the module to read: `prefix`, or the only one within it."""
    if not found:
        raise ValueError(
            "The state_dict contains no recurrent module: no name ends with "
            "weight_ih_l0 or weight_ih, as in a `torch.nn.RNN`, `LSTM` or `GRU` or one "
            f"of their cells. The names are {sorted(plain)[:8]}."
        )
    for each in (prefix, *(wrapper + prefix for wrapper in _WRAPPERS)):
        inside = sorted(name for name in found if name.startswith(each))
        if each in found or len(inside) == 1:
            return each if each in found else inside[0]
        if inside:
            raise ValueError(
                f"The state_dict contains {len(inside)} recurrent modules. Pass "
                f"`prefix=` one of {inside}."
            )
    raise ValueError(
        f"No recurrent module has the prefix {prefix!r}. Their prefixes are "
        f"{sorted(found)}: pass one of these."
    )


def _plain(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arrays with normalized weights computed."""
    plain: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in state_dict.items():
        normed, other = _NORMED.fullmatch(name), _PARAMETRIZED.fullmatch(name)
        if normed and _WEIGHT.fullmatch(normed["path"]):
            parts.setdefault(normed["path"], {})[normed["part"]] = value
        elif other and _WEIGHT.fullmatch(other["name"]):
            path = other["prefix"] + other["name"]
            part = {"original0": "g", "original1": "v"}.get(other["part"])
            if part is None:
                raise ValueError(
                    f"{path} is parametrized by something other than weight_norm, "
                    f"{other['part']!r}. Call `torch.nn.utils.parametrize."
                    f"remove_parametrizations(module, {other['name']!r})` first."
                )
            parts.setdefault(path, {})[part] = value
        else:
            plain[name] = value
    for path, pair in parts.items():
        if set(pair) != {"g", "v"} or path in plain:
            raise ValueError(
                f"{path} must be given as its direction and its norm, or as itself, "
                f"got {sorted(pair)}{' and itself' * (path in plain)}."
            )
        plain[path] = _normalized(path, pair["g"], pair["v"])
    return plain


def _normalized(path: str, g: Any, v: Any) -> Array:
    """Returns g * v / |v|. The axes of size 1 of g, or all, are those of the norm."""
    norm, direction = to_array(f"the norm of {path}", g), to_array(path, v)
    axes = [n for n, size in enumerate(norm.shape) if size == 1]
    axes = axes if norm.ndim else list(range(direction.ndim))
    size = jnp.sqrt(jnp.sum(direction**2, axis=tuple(axes), keepdims=True))
    if norm.ndim:
        check_shape(f"The norm of {path}", norm, size.shape)
    return direction * (norm / size)


def _check_copy(name: str, copy: Any, weights: Mapping[str, Any]) -> None:
    """Raises unless one of the weights equals a copy, or all of them concatenated."""
    array = np.asarray(to_array(name, copy))
    values = [np.asarray(to_array(each, value)) for each, value in weights.items()]
    joined = np.concatenate([value.reshape(-1) for value in values])
    if not any(np.array_equal(array, value) for value in (*values, joined)):
        raise ValueError(
            f"{name} must be a copy of one of the weights {sorted(weights)} or of all "
            "of them one after another, but differs. Leave out the wrong ones."
        )
