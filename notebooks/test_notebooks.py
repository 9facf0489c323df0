"""Every notebook runs in its fast mode; a failed assert in it is an error."""

import pytest

from notebooks import build


@pytest.mark.parametrize("source", build.SOURCES, ids=lambda source: source.stem)
def test_notebook(source, monkeypatch):
    monkeypatch.setenv("JRNN_FAST", "1")
    monkeypatch.setenv("PYTHONPATH", str(build.FOLDER.parent))
    build.check(source)
