"""A directive that documents the public names of a module.

Public is what a module defines without an underscore, or imports as `X as X`.
"""

import ast
import importlib
import inspect
import pathlib
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles


def public_names(module: str) -> list[str]:
    """Returns the public names of a module, without those of modules."""
    loaded = importlib.import_module(module)
    found = []
    body = ast.parse(pathlib.Path(inspect.getfile(loaded)).read_text()).body
    for node in [*body, *typed(body)]:
        if isinstance(node, ast.ImportFrom):
            found += [each.name for each in node.names if each.name == each.asname]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
    return [
        name
        for name in found
        if not name.startswith("_") and not inspect.ismodule(getattr(loaded, name))
    ]


def listed(module: str, *names: str) -> list[str]:
    """Returns the names to document: those given, and for `*` or none, the others."""
    if names and names[-1] != "*":
        return list(names)
    first = list(names[:-1])
    return first + [name for name in public_names(module) if name not in first]


def typed(body: list[ast.stmt]) -> list[ast.stmt]:
    """Returns what is below `if TYPE_CHECKING`: names that are loaded on first use."""
    return [each for node in body if isinstance(node, ast.If) for each in node.body]


class Public(SphinxDirective):
    """`{public} jrnn.layers`: each public function and class of a module.

    Names after the module select some, and `*` after them adds the others.
    """

    required_arguments = 1
    optional_arguments = 100
    final_argument_whitespace = False

    def run(self) -> list[nodes.Node]:
        module, *names = self.arguments
        lines = ["```{eval-rst}"]
        for name in listed(module, *names):
            each = getattr(importlib.import_module(module), name)
            if inspect.isclass(each):
                lines += [f".. autoclass:: {module}.{name}", *options(each), ""]
            elif callable(each):
                lines += [f".. autofunction:: {module}.{name}", ""]
        lines.append("```")
        container = nodes.container()
        nested_parse_with_titles(self.state, StringList(lines, module), container)
        return container.children


# Documented once, in `jrnn.Cell` and `jrnn.Layer`.
CONTRACT = {"init", "initial_state", "prepare", "project", "read", "step", "update"}


def options(each: type) -> list[str]:
    """Documents the methods of a class that are not those of every cell and layer."""
    if issubclass(each, tuple):  # its docstring has the fields
        return []
    contract = set() if each.__module__ == "jrnn.types" else CONTRACT
    own = [
        name
        for name, method in vars(each).items()
        if not name.startswith("_")
        and name not in contract | set(vars(each).get("__dataclass_fields__", ()))
        and inspect.isfunction(method)
        and inspect.getdoc(method)
    ]
    return [f"   :members: {', '.join(own)}"] if own else []


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("public", Public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
