"""The notebooks are built from their scripts, stand alone, and cover the lecture notes.

`python -m pytest notebooks` runs them. Nothing runs here.
"""

import ast
import re
import sys

import pytest

pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
pytest.importorskip("nbformat")

from notebooks import build, concepts  # noqa: E402  where there is what builds

SOURCES = build.SOURCES
LAST = 14  # the number of the last notebook
ALLOWED = {"jrnn", "jax", "numpy", "optax", "flax", "matplotlib"}
INSTALL = """\
# %%
try:
    import jrnn
except ImportError:  # opened alone, for example in a hosted service
    import subprocess
    import sys

    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "jrnn[viz]"])
    import jrnn
"""


def names(source):
    return source.stem


def cells(text):
    """The markdown cells of a script, without the comment signs."""
    parts = re.split(r"^# %%", text, flags=re.MULTILINE)
    found = [part for part in parts if part.startswith(" [markdown]")]
    return [re.sub(r"^# ?", "", part, flags=re.MULTILINE) for part in found]


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_a_notebook_is_that_of_its_script(source):
    assert build.problems(source) == []


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_a_notebook_stands_alone(source):
    text = source.read_text()
    first = text.index("\n# %%\n") + 1
    cell = text[first:].split("\n# %%")[0].replace("jrnn[flax,viz]", "jrnn[viz]")
    assert ast.dump(ast.parse(cell)) == ast.dump(ast.parse(INSTALL))
    tree = ast.parse(text.replace(INSTALL, ""))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names <= ALLOWED
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_a_notebook_shows_and_asserts(source):
    text = source.read_text()
    first, *_, last = cells(text)
    assert re.search(r"^# \S", first, re.MULTILINE)
    assert re.search(r"second|minute", first), "says how long it takes"
    assert "## What to remember" in last
    assert len(re.findall(r"^\* ", last, re.MULTILINE)) == 3
    assert "../docs/" in last
    number = int(source.stem[:2])
    if number < LAST:
        assert re.search(rf"\]\({number + 1:02}_\w+\.ipynb\)", last)
    assert "\nassert " in text and "plt.show()" in text
    assert "plt.style.use(plots.STYLE)" in text


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_pictures_have_labeled_axes(source):
    notebook = build.nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    drawn = [
        c for c in code if any("image/png" in o.get("data", {}) for o in c.outputs)
    ]
    assert drawn
    for cell in drawn:
        labels = (
            r"xlabel|set_xticks|xticks=\[\]|plots\.\w+\(|heat_map\(|axis\(\"off\"\)"
        )
        assert re.search(labels, cell.source), cell.source


@pytest.mark.parametrize("concept", concepts.CONCEPTS)
def test_a_concept_of_the_lecture_notes_is_in_a_notebook(concept):
    notebook, phrase = concepts.CONCEPTS[concept]
    (source,) = [source for source in SOURCES if source.stem == notebook]
    plain = re.sub(r"\s+(# )?", " ", source.read_text())
    assert phrase in plain, f"{concept} should be in {notebook}"


def test_a_difference_is_noticed(tmp_path):
    source = tmp_path / "00_new.py"
    source.write_text("# %%\n1 + 1\n")
    assert "missing" in build.problems(source)[0]
    notebook = build.jupytext.read(source)
    notebook.cells[0].execution_count = 1
    build.nbformat.write(notebook, source.with_suffix(".ipynb"))
    assert build.problems(source) == []
    source.write_text("# %%\n1 + 2\n")
    assert "older" in build.problems(source)[0]
    notebook.cells[0].source = "1 + 2"
    notebook.cells[0].execution_count = 2
    build.nbformat.write(notebook, source.with_suffix(".ipynb"))
    assert "not run" in build.problems(source)[0]
    notebook.metadata["padding"] = "x" * build.LARGEST
    build.nbformat.write(notebook, source.with_suffix(".ipynb"))
    assert "bytes" in build.problems(source)[0]
