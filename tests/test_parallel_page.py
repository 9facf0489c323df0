"""The code of docs/parallel.md runs, and its command prints tables."""

import pathlib

from experiments import parallel

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "parallel.md"


def test_the_code_of_the_page_runs():
    blocks = PAGE.read_text().split("```python\n")[1:]
    code = "\n".join(block.split("```")[0] for block in blocks)
    exec(compile(code, PAGE.name, "exec"), {})


def test_the_command_prints_the_table_of_the_page(monkeypatch, capsys):
    monkeypatch.setattr(parallel, "GAINS", (0.5,))
    monkeypatch.setattr(parallel, "CELLS", {"ParaGRU": parallel.CELLS["ParaGRU"]})
    assert parallel.main("parallel", ["--tables", "iterations"]) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    assert printed[-1] in PAGE.read_text()
