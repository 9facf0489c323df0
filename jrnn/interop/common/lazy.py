"""Packages that import their modules on first use (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any


def lazy(
    package: str,
    modules: Iterable[str] = (),
    members: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the functions `__getattr__` and `__dir__` of a package.

    Args:
      package: The package's `__name__`.
      modules: Names of modules in the package.
      members: Names of classes and functions, each with its module in the package.
    """
    homes = {name: name for name in modules} | dict(members)

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(f"{package}.{homes[name]}")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{package}.{name} needs {error.name!r}, which is not installed. "
                "Install it with `pip install 'jrnn[interop]'`.",
                name=error.name,
            ) from error
        return getattr(module, name) if name in members else module

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return load, names
