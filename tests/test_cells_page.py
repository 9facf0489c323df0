"""The page of all cells agrees with the cells."""

import pathlib

from experiments import cells

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "cells.md"


def rows(text):
    """Returns the rows by cell, without the gradient methods, which take long."""
    found = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {row[0]: row[1:6] + row[7:] for row in found}


def test_the_page_is_what_the_command_prints(monkeypatch):
    monkeypatch.setattr(cells, "_methods", lambda cell: [])
    actual, expected = rows(PAGE.read_text()), rows(cells.page())
    assert actual == expected, "run the command at the top of docs/cells.md"
    assert len(actual) == len(cells.finished()) > 40
    assert all(row[-1].strip(" |") for row in actual.values())  # a test
