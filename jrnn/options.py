"""Checks of the options of a cell or a layer, when it is made."""

import dataclasses
import functools
from typing import Any

import jax

from jrnn import checks
from jrnn.types import Activation, Array, Cell, GateBias, Layer


def check(node: Any) -> None:
    """Raises unless the fields of a dataclass have the types of their annotations.

    Integers must be at least one. NumPy and JAX scalars are converted to Python
    numbers, which do not overflow, do not promote dtypes, and are hashable.
    `separate_biases` needs `bias`.

    Raises:
      TypeError: if a field holds another type.
      ValueError: if an integer is below one, or if options contradict each other.
    """
    kind = type(node).__name__
    for field in dataclasses.fields(node):
        rule, value = _RULES.get(field.type), getattr(node, field.name)
        if rule is None or (value is None and field.default is None):
            continue
        checked = rule(f"{kind}.{field.name}", value)
        if checked is not None:
            object.__setattr__(node, field.name, checked)  # not shared yet
    if getattr(node, "separate_biases", False) and not node.bias:
        raise ValueError(
            f"{kind} has separate_biases=True, which needs a bias, but also "
            "bias=False. Remove one of them."
        )


def is_cell(name: str, value: Any) -> None:
    """Raises unless `value` is a cell: an instance of a subclass of `jrnn.Cell`."""
    if isinstance(value, Cell):
        return
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a cell, got the class {value.__name__}. Make an instance, "
            f"such as `{value.__name__}(hidden_size=4)`."
        )
    if hasattr(value, "apply"):
        raise TypeError(
            f"{name} must be a cell, got the layer {value!r}. Run a layer with "
            "`layer.apply`; `jrnn.Recurrent(cell)` turns a cell into a layer."
        )
    missing = sorted(n for n in Cell.__abstractmethods__ if not hasattr(value, n))
    raise TypeError(
        f"{name} must be an instance of a subclass of `jrnn.Cell`, got {value!r}"
        + (f", which does not define {', '.join(missing)}." if missing else ".")
        + " `jrnn.cells.HiddenCell` has defaults for cells on vectors."
    )


def check_params(cell: Cell, params: Any, xs: Any) -> None:
    """Raises if parameters are those of another cell, or of another input size.

    Raises:
      TypeError: if they are of another class.
      ValueError: if a matrix has another shape, or `xs` another number of features.
    """
    if not hasattr(xs, "shape"):
        return
    features = xs.shape[xs.ndim - cell.feature_axes :]
    like = _shapes(cell, features if cell.feature_axes > 1 else features[0])
    if like is None:
        return
    recover = f"Make them with `init` of {cell!r}."
    checks.same_params(params, like, recover)
    if cell.feature_axes == 1 and jax.tree.structure(params) == _structure(like):
        for leaf, own in zip(
            jax.tree.leaves(params), jax.tree.leaves(like), strict=True
        ):
            if own.ndim > 1 and own.shape[0] == features[0] != leaf.shape[0]:
                checks.last_axis("xs", xs, leaf.shape[0])


def _structure(tree: Any) -> Any:
    return jax.tree.structure(tree)


@functools.lru_cache(maxsize=256)
def _shapes(cell: Cell, input_size: Any) -> Any:
    """Returns the shapes of the parameters, or None if there is no such size."""
    try:
        return jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    except (TypeError, ValueError):
        return None


def own_params(layer: Any, params: Any, expected: type) -> None:
    """Raises unless parameters are of the class that a layer makes, and complete."""
    recover = f"Make them with `init` of {layer!r}."
    if not isinstance(params, expected):
        raise TypeError(
            f"params must be {expected.__name__}, got {checks.outline(params)}. "
            f"{recover}"
        )
    for name, kind in expected.__annotations__.items():
        if kind is Array and getattr(params, name) is None:
            raise TypeError(f"params.{name} must be an array, got None. {recover}")


def is_layer(name: str, value: Any) -> None:
    """Raises unless `value` is a layer."""
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a layer, got the class {value.__name__}. Make an instance."
        )
    if isinstance(value, Cell) or not isinstance(value, Layer):
        raise TypeError(
            f"{name} must be a layer, got {value!r}. Wrap a cell in `jrnn.Recurrent`, "
            "and a function of one step in `jrnn.Map`."
        )


def _is_count(name: str, value: Any) -> int:
    return checks.integer(name, value, 1)


def _are_counts(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise TypeError(f"{name} must be a tuple of integers, got {value!r}.")
    return tuple(checks.integer(f"an entry of {name}", entry, 1) for entry in value)


def _are_names(name: str, value: Any) -> None:
    if not isinstance(value, tuple) or not all(isinstance(v, str) for v in value):
        raise TypeError(
            f"{name} must be a tuple of names, such as `('w_h',)`, got {value!r}."
        )


def _is_activation(name: str, value: Any) -> None:
    if not callable(value) or isinstance(value, Cell | Layer):
        raise TypeError(
            f"{name} must be a function, such as `jrnn.activations.relu` or "
            f"`jax.numpy.tanh`, got {value!r}."
        )


def _is_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}.")


def _is_number(name: str, value: Any) -> Any:
    checks.number(name, value)
    return value.item() if hasattr(value, "dtype") else value


def _are_numbers(name: str, value: Any) -> Any:
    """One number, or a number or None for each leaf of a state."""
    if not isinstance(value, tuple):
        return _is_number(name, value)
    return tuple(v if v is None else _is_number(name, v) for v in value)


def _is_start(name: str, value: Any) -> Any:
    """A number, a function that draws numbers, or None for that of the scheme."""
    known = value is None or callable(value)
    return value if known else _is_number(name, value)


_RULES: dict[Any, Any] = {
    int: _is_count,
    int | None: _is_count,
    tuple[int, ...]: _are_counts,
    tuple[int, ...] | None: _are_counts,
    tuple[str, ...]: _are_names,
    float: _is_number,
    float | None: _is_number,
    float | tuple[float, ...]: _are_numbers,
    float | tuple[float | None, ...]: _are_numbers,
    float | GateBias | None: _is_start,
    bool: _is_flag,
    Activation: _is_activation,
    Activation | None: _is_activation,
    Cell: is_cell,
    Layer: is_layer,
}
