"""Docstrings as reStructuredText.

The docstrings of jrnn are written to be read in an editor: names in single backticks,
equations as indented lines, shapes such as [*batch, time]. This adds what
reStructuredText needs, before the sections are parsed.
"""

import inspect
import re
from typing import Any

from sphinx.application import Sphinx

SECTION = re.compile(
    r"(Args|Attributes|Returns|Raises|Yields|Example|Examples|References|Note):$"
)


def convert(lines: list[str]) -> list[str]:
    """Converts the lines of a docstring, section by section."""
    out: list[str] = []
    name, section = "", []
    for line in [*lines, None]:
        if line is None or SECTION.match(line) or (name and line[:1].strip()):
            out += CONVERT.get(name, inlines)(section)
            match = line and SECTION.match(line)
            name, section = match[1] if match else "", []
        if line is not None:
            section.append(line)
    return out


def inlines(lines: list[str]) -> list[str]:
    return [inline(line) for line in lines]


def prose(lines: list[str]) -> list[str]:
    """Converts text in which equations and code are indented.

    An apostrophe in an equation, as in h', would start a string in Python.
    """
    out, literal = [], False
    for line in lines:
        if line.startswith("    ") and (literal or not out or not out[-1].strip()):
            out += [] if literal else [".. code-block:: text", ""]
            literal = True
        elif line.strip():
            literal = False
        out.append(line if literal else inline(line))
    return out


def attributes(lines: list[str]) -> list[str]:
    """Converts the fields of a dataclass: the parameters of its constructor."""
    return ["Args:", *inlines(lines[1:])]


def references(lines: list[str]) -> list[str]:
    """Converts numbered sources into a list."""
    texts = [line.strip() for line in lines[1:]]
    marked = [("  * " if text[:1] == "[" else "    ") + inline(text) for text in texts]
    return [lines[0], *(line if line.strip() else "" for line in marked)]


def verbatim(lines: list[str]) -> list[str]:
    return lines


CONVERT = {
    "": prose,
    "Attributes": attributes,
    "References": references,
    "Example": verbatim,
    "Examples": verbatim,
}


def inline(line: str) -> str:
    """Converts what is between the backticks, and escapes what is outside of them."""
    parts = re.split(r"(`+[^`]*`+)", line)
    return "".join(
        "``" + part.strip("`") + "``" if part.startswith("`") else escaped(part)
        for part in parts
    )


def escaped(text: str) -> str:
    return re.sub(r"([*|\\])", r"\\\1", re.sub(r"(\w)_(?!\w)", r"\1\\_", text))


def fields(each: type) -> list[str]:
    """Returns the fields of a NamedTuple, with the comments that give their shapes."""
    pattern = r"^    (\w+): ([^=#\n]*?)(?: = ([^#\n]*?))?(?:  # (.*))?$"
    found = re.findall(pattern, inspect.getsource(each), re.MULTILINE)
    found = [(name, comment) for name, _, _, comment in found if comment]
    return ["", "Attributes:"] + [f"  {name}: {text}" for name, text in found]


def process(
    app: Sphinx, kind: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    named = inspect.isclass(obj) and issubclass(obj, tuple)
    if named and "Attributes:" not in lines:
        lines += fields(obj) if len(fields(obj)) > 2 else []
    lines[:] = convert(lines)


NAMES = {
    r"~?jax\.jaxlib\._jax\.Array": "Array",
    r"~?collections\.abc\.Callable\[\[Array\], Array\]": "Activation",
    r"<function (\w+)>": r"\1",
    r"~(?=\w)": "",
    r"jrnn\.[\w.]*\.(\w+)": r"\1",
    r"collections\.abc\.": "",
}


def signature(
    app: Sphinx, kind: str, name: str, obj: Any, options: Any, text: str, returns: str
) -> tuple[str, str] | None:
    """Names types as the code does, where Sphinx writes where they are defined."""
    for pattern, short in NAMES.items():
        text = text and re.sub(pattern, short, text)
        returns = returns and re.sub(pattern, short, returns)
    return text, returns


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
