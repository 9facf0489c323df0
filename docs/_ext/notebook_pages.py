"""The notebooks as pages: copies in `docs/notebooks`, whose links lead to pages."""

import pathlib
from typing import Any

from sphinx.application import Sphinx

DOCS = pathlib.Path(__file__).parent.parent
SOURCES = DOCS.parent / "notebooks"
PAGES = DOCS / "notebooks"


def copy(app: Sphinx, config: Any) -> None:
    """Copies what has changed, and deletes pages of notebooks that are gone."""
    del app, config
    PAGES.mkdir(exist_ok=True)
    sources = {source.name: source for source in SOURCES.glob("[0-9]*.ipynb")}
    for page in PAGES.glob("*.ipynb"):
        if page.name not in sources:
            page.unlink()
    for name, source in sources.items():
        text = source.read_text().replace("](../docs/", "](../")
        page = PAGES / name
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def link(app: Sphinx, name: str, source: list[str]) -> None:
    """Lets a link from a page to a notebook lead to its page."""
    del app, name
    source[0] = source[0].replace("](../notebooks/", "](notebooks/")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", copy)
    app.connect("source-read", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
