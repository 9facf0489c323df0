"""Decorators for cells, layers and their trees: plain values that print and compare."""

import copy
import dataclasses
import functools
from typing import Any, TypeVar, dataclass_transform

import jax.export

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def value(cls: type[_T]) -> type[_T]:
    """Makes a class a frozen dataclass that prints as the call that builds it.

    The printed form leaves out fields at their default and shows functions by name:
    `GRU(4)` is `GRU(hidden_size=4)`, without addresses that change from run to run.

    Example:
      >>> @value
      ... class Scale:
      ...     factor: float = 1.0
      >>> Scale(), Scale(factor=2.0), Scale(2.0) == Scale(2.0)
      (Scale(), Scale(factor=2.0), True)
    """
    made = dataclasses.dataclass(frozen=True, repr=False)(cls)
    if "__repr__" not in vars(cls):
        setattr(made, "__repr__", _print_value)  # noqa: B010  mypy's view of methods
    called = any("__call__" in vars(base) for base in made.__mro__)
    if hasattr(made, "initial_state") and not called:
        setattr(made, "__call__", _refuse_call)  # noqa: B010
    if hasattr(made, "initial_state") and "apply" in vars(cls):
        setattr(made, "apply", _with_state(vars(cls)["apply"]))  # noqa: B010
    return made


def init_only(default: Any) -> Any:
    """Declares a field of a cell that only its `init` reads.

    Cells that differ in such fields compute the same from the same parameters, and
    `jrnn.scan` compiles once for all of them.

    Example:
      >>> @value
      ... class Draw:
      ...     deviation: float = init_only(0.1)
      >>> without_init_options(Draw(0.5)) == Draw()
      True
    """
    return dataclasses.field(default=default, metadata={"init_only": True})


def without_init_options(node: _T) -> _T:
    """Returns a cell or layer with every init-only field, at any depth, at its default.

    A program that is compiled for the result can be used for all nodes that differ only
    in such fields.

    Example:
      >>> import jrnn
      >>> without_init_options(jrnn.LSTM(4, scheme="torch"))
      LSTM(hidden_size=4)
    """
    result: _T = _cached(node)
    return result


def _without_init_options(node: Any) -> Any:
    if type(node) is tuple:
        return tuple(map(_without_init_options, node))
    if isinstance(node, type) or not dataclasses.is_dataclass(node):
        return node
    new = copy.copy(node)  # `replace` would call an `__init__` of other arguments
    for field in dataclasses.fields(node):
        old = getattr(node, field.name)
        plain = field.metadata.get("init_only")
        kept = field.default if plain else _without_init_options(old)
        object.__setattr__(new, field.name, kept)
    return new


_cached: Any = functools.lru_cache(maxsize=1024)(_without_init_options)


def exportable(node: type[_T]) -> type[_T]:
    """Registers a NamedTuple of arrays with `jax.export`; decorates its class.

    Example:
      >>> from typing import Any, NamedTuple
      >>> @exportable
      ... class Pair(NamedTuple):
      ...     h: Any
      ...     c: Any
    """
    jax.export.register_namedtuple_serialization(
        node, serialized_name=f"jrnn.{node.__name__}"
    )
    return node


def _with_state(apply: Any) -> Any:
    """Makes `layer.apply(params, xs)`, without a state, say what is missing."""

    @functools.wraps(apply)
    def checked(self: Any, *args: Any, **flags: Any) -> Any:
        given = len(args) + sum(name in flags for name in ("params", "state", "xs"))
        if given < 3:
            raise TypeError(
                f"{type(self).__name__}.apply takes parameters, a state and inputs, "
                f"got {given} of them. Write "
                "`state, ys = layer.apply(params, None, xs)`."
            )
        return apply(self, *args, **flags)

    return checked


def _refuse_call(self: Any, *args: Any, **options: Any) -> None:
    """Raises an error that shows the right call: cells and layers are not callable.

    Raises:
      TypeError: always.
    """
    del args, options
    call = "layer.apply(params, None, xs)"
    if not hasattr(self, "apply"):
        call = "jrnn.scan(cell, params, None, xs)"
    raise TypeError(
        f"{type(self).__name__} is not callable. Write `state, ys = {call}`."
    )


def _print_value(self: Any) -> str:
    shown = [
        f"{field.name}={getattr(value, '__name__', None) or repr(value)}"
        for field in dataclasses.fields(self)
        if (value := getattr(self, field.name)) != field.default
    ]
    return f"{type(self).__name__}({', '.join(shown)})"
