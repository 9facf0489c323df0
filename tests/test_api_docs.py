"""Every public name has a docstring that says what a user needs, with an example."""

import importlib
import inspect
import pathlib
import re
import sys

import pytest

import jrnn

pytest.importorskip("sphinx", reason="the reference is built with the extra `docs`")
pytest.importorskip("matplotlib", reason="`jrnn.diagnostics.plots` needs it")
DOCS = pathlib.Path(__file__).parent.parent / "docs"
sys.path.append(str(DOCS / "_ext"))
from public_names import listed  # noqa: E402


def documented():
    """Returns the names of the reference, each with its object."""
    found = {}
    for page in sorted((DOCS / "api").glob("*.md")):
        for block in re.findall(r"```\{public\} (.*?)\n```", page.read_text()):
            module, *names = block.split()
            loaded = importlib.import_module(module)
            for name in listed(module, *names):
                each = getattr(loaded, name)
                if inspect.isclass(each) or inspect.isfunction(each):
                    found[f"{module}.{name}"] = each
    return found


try:
    NAMES = documented()
except ModuleNotFoundError as error:  # a library that the reference is about
    pytest.skip(f"needs {error.name}", allow_module_level=True)


def is_arrays(each):
    return inspect.isclass(each) and issubclass(each, tuple)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented(name):
    each, doc = NAMES[name], inspect.getdoc(NAMES[name]) or ""
    first, _, rest = doc.partition("\n")
    assert first and rest[:1] in ("", "\n"), "it needs a summary of one line"
    if is_arrays(each):
        source = inspect.getsource(each)
        bare = re.findall(r"^    (\w+): Array[^#\n]*$", source, re.MULTILINE)
        missing = [field for field in bare if f"{field}:" not in doc]
        assert not missing, f"the shapes of {missing} are missing"
        return
    if not (inspect.isclass(each) and issubclass(each, Exception)):
        assert ">>>" in doc, "it needs an example"
    if inspect.isfunction(each):
        source = inspect.getsource(each)
        raises = re.search(r"^    (    )?(raise |checks\.)", source, re.MULTILINE)
        assert not raises or "Raises:" in doc, "it raises, and does not say when"
        arrays = [
            parameter.name
            for parameter in inspect.signature(each).parameters.values()
            if parameter.annotation is jrnn.types.Array and parameter.name != "key"
        ]
        elementwise = each.__module__ == "jrnn.cells.activations"
        assert not arrays or "[" in doc or elementwise, f"shapes of {arrays}?"


def test_the_reference_has_every_name_of_the_package():
    objects = set(map(id, NAMES.values()))
    assert not [name for name in jrnn.__all__ if id(getattr(jrnn, name)) not in objects]
