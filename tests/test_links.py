"""Links lead to files and headings, and each item of a list has a line of its own."""

import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "api").glob("*.md")),
]
LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")
OUTSIDE = re.compile(r"[a-z]+:")
ITEM_IN_A_LINE = re.compile(r"\S \*(?= |$)|[.;:] \d+\.(?= |$)")


def text_of(page):
    """Returns the Markdown of a page or notebook, without code."""
    text = page.read_text()
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        written = [cell for cell in cells if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in written)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("](", "]"), text)


def anchors(page):
    """Returns the anchors that GitHub and the site give to headings."""
    titles = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.strip().replace(" ", "-") for title in plain}


def dead(page):
    """Returns the links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(text_of(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if OUTSIDE.match(link):
            continue
        if not target.exists() or anchor and anchor not in anchors(target):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert not dead(page), f"{page.name} has links that lead nowhere"


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "# Some title, and `code`\n[a](#some-title-and-code) [b](b.md) [c](#c)\n"
        "`[d](d.md)` [e](https://example.com)\n```\n[f](f.md)\n```\n"
    )
    assert dead(page) == ["b.md", "#c"]


def joined(page):
    """Returns the lines of prose that hold more than one item of a list."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]*\$", "", text_of(page), flags=re.DOTALL)
    lines = re.sub(r"`[^`]*`", "code", text).splitlines()
    prose = [line for line in lines if not line.startswith(("    ", "|"))]
    return [line for line in prose if ITEM_IN_A_LINE.search(line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_item_of_a_list_has_its_own_line(page):
    assert not joined(page), f"{page.name} has several items of a list in one line"


def test_items_in_one_line_are_found(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "* one. * two. *\n  three\n1. one. 2. two\n\n"
        "* `a * b` is 1. Then\n    2 * 3\n\n| 2 * 3 |\n\n```\n2 * 3\n```\n"
    )
    assert joined(page) == ["* one. * two. *", "1. one. 2. two"]
