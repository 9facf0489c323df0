"""The README's example prints what the README says, and is as short as it looks."""

import pathlib
import pydoc
import re
import tomllib

import pytest

import jrnn

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.without("jax_enable_x64", reason="the README computes in float32")
def test_the_example_prints_what_is_printed_below_it(capsys):
    code, output = re.search(
        r"```python\n(.*?)```\n+```text\n(.*?)```", README, re.DOTALL
    ).groups()
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == output
    lines = [line for line in code.splitlines() if line and "import" not in line]
    assert len(lines) <= 12


def test_the_readme_names_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sentences = re.search(r"install the extra .*?\. To open", README, re.DOTALL)[0]
    named = set(re.findall(r"`(\w+)`", sentences))
    assert named == set(project["optional-dependencies"])


def test_the_front_page_has_the_same_example():
    example = re.search(r"```python\n.*?```\n+```text\n.*?```", README, re.DOTALL)
    assert example[0] in (ROOT / "docs" / "index.md").read_text()


def test_help_lists_the_classes_and_functions():
    text = pydoc.plain(pydoc.render_doc(jrnn))
    for name in ("class LSTM", "class Recurrent", "class Sequential", "scan(cell"):
        assert name in text
    assert {"LSTM", "scan", "generate", "value"} <= set(jrnn.__all__)
    assert not {"cells", "types", "checks"} & set(jrnn.__all__)
