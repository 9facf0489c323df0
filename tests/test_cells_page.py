"""The page of all cells agrees with the cells."""

import pathlib

import pytest

import jrnn
from experiments import cells

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "cells.md"


def rows(text):
    """Returns the rows by cell, without the gradient methods, which take long, as the
    platforms of a kernel do.
    """
    text = text.replace("pallas (TPU)", "pallas")
    found = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {row[0]: row[1:6] + row[7:] for row in found}


def test_the_page_is_what_the_command_prints(monkeypatch):
    monkeypatch.setattr(cells, "_methods", lambda cell: [])
    monkeypatch.setattr(cells, "_platforms", lambda cell: "pallas")
    actual, expected = rows(PAGE.read_text()), rows(cells.page())
    assert actual == expected, "run the command at the top of docs/cells.md"
    assert len(actual) == len(cells.finished()) > 40
    assert all(row[-1].strip(" |") for row in actual.values())  # a test


@pytest.mark.parametrize(
    ("cell", "word"),
    [(jrnn.Elman(8), "pallas"), (jrnn.LayerNormGRU(8), "pallas (TPU)")],
    ids=["Elman", "LayerNormGRU"],
)
def test_the_page_says_for_which_platform_a_kernel_is(cell, word):
    assert cells._platforms(cell) == word
    name = type(cell).__name__
    row = next(r for r in PAGE.read_text().splitlines() if r.startswith(f"| `{name}`"))
    assert f"gated, {word}, parallel" in row
