"""Every Python snippet of the pages runs, in the order of the page."""

import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parent.parent / "docs"
# Pages with tests of their own, which do more than run them.
ELSEWHERE = {
    "coming_from.md",
    "design.md",
    "files.md",
    "index.md",
    "your_own_cell.md",
}
PAGES = [page for page in sorted(DOCS.glob("*.md")) if page.name not in ELSEWHERE]

COMPARISON = (DOCS / "comparison.md").read_text()


def snippets(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", filter(snippets, PAGES), ids=lambda page: page.name)
def test_the_snippets_of_a_page_run(page):
    if "plots" in page.read_text():
        pytest.importorskip("matplotlib").use("Agg")
    # Tests have two devices already, and the option is for the start of a program.
    code = "\n".join(snippets(page)).replace("jax.config.update", "dict().get")
    exec(compile(code, page.name, "exec"), {"__name__": page.name})


@pytest.mark.parametrize("name", ["devices.md", "parallel.md"])
def test_a_page_with_a_mesh_asks_for_two_devices_before_it_computes(name):
    code = "\n".join(snippets(DOCS / name))
    assert "jax.make_mesh((2,)" in code
    assert 'jax.config.update("jax_num_cpu_devices", 2)' in code.partition("random")[0]


def test_each_claim_of_the_comparison_names_a_test_that_exists():
    lines = re.findall(r"^\| (?!Feature).*", COMPARISON, re.MULTILINE)
    assert lines
    for line in lines:
        reference = line.strip("| ").rpartition("|")[2]
        path, _, name = re.match(r" `([^`]+)`", reference)[1].partition("::")
        source = (DOCS.parent / path).read_text()
        assert f"def {name}" in source, f"{path} has no {name}"
