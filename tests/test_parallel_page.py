"""The command of docs/parallel.md prints its tables."""

import pathlib

from experiments import parallel

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "parallel.md"


def test_the_command_prints_the_table_of_the_page(monkeypatch, capsys):
    monkeypatch.setattr(parallel, "GAINS", (0.5,))
    monkeypatch.setattr(parallel, "CELLS", {"ParaGRU": parallel.CELLS["ParaGRU"]})
    assert parallel.main("parallel", ["--tables", "iterations"]) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    assert printed[-1] in PAGE.read_text()
