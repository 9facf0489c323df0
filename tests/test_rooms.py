"""The architecture, as a test: rooms import downwards only, and files stay small."""

import ast
import pathlib
import subprocess
import sys

import pytest

import jrnn

ROOT = pathlib.Path(jrnn.__file__).parent
REPOSITORY = ROOT.parent
FILES = sorted(ROOT.rglob("*.py"))
# From the ground up. A room may import the rooms before it, and its own files.
ROOMS = [
    "numerics",
    "meshes",
    "linear_maps",
    "forms",
    "values",
    "types",
    "checks",
    "options",
    "masks",
]
ROOMS += ["storage", "sequences", "text", "initializers", "cells", "kernels"]
ROOMS += ["scanning", "layers", "diagnostics", "training", "testing", "interop"]
LIMIT = 300
OPTIONAL = ["flax", "chex", "matplotlib", "torch", "keras", "haiku", "equinox", "onnx"]


def room(module: str) -> int:
    """Rank of a dotted module name such as `jrnn.cells.gru`; the package is last."""
    parts = module.split(".")
    return ROOMS.index(parts[1]) if len(parts) > 1 else len(ROOMS)


def imported_modules(path: pathlib.Path) -> set[str]:
    """Names of the modules of jrnn that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "jrnn"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    module = ".".join(["jrnn", *path.relative_to(ROOT).with_suffix("").parts])
    if module == "jrnn.__init__":
        return
    for name in imported_modules(path):
        assert room(name) <= room(module), f"{module} imports {name} from above"


@pytest.mark.parametrize("folder", ["jrnn", "experiments", "tests"])
def test_files_stay_small(folder):
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        lines = len(path.read_text().splitlines())
        assert lines <= LIMIT, f"{path.relative_to(REPOSITORY)} has {lines} lines"


def test_the_import_is_light():
    code = f"import jrnn, sys; print([m for m in {OPTIONAL} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stdout + out.stderr


def test_jit_is_in_few_places():
    sources = {path.name: path.read_text().replace("`jax.jit`", "") for path in FILES}
    users = {name for name, text in sources.items() if "jax.jit" in text}
    public = {"scanning.py", "linear_recurrence.py", "generation.py", "beam.py"}
    inside = {"solve.py"}  # so that programs share what is traced
    checks = {
        "laws.py",
        "structure.py",
        "subjects.py",
    }  # each compiles one program, not each operation
    assert users == public | inside | checks | {"fit.py", "export.py"}
