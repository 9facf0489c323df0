"""The scoreboard: every row once, counted and printed, and its page kept up to date."""

import dataclasses

import pytest

from experiments.__main__ import main
from experiments.drill import command, page, rows
from experiments.drill.rows import Outcome, Result, Row
from experiments.errors import UserError

BOARD = rows.all_rows()


def fails(folder, quick):
    raise RuntimeError(f"{folder.name} {quick}")


def outcomes(section, result):
    return [
        Outcome(row, result, 1.0) for row in BOARD if row.section == section.upper()
    ]


def test_the_board_has_every_row_once():
    assert len(BOARD) == 74
    assert {row.section for row in BOARD} == set(rows.SECTIONS)
    assert sorted(row.section for row in BOARD) == [row.section for row in BOARD]


def test_a_check_that_raises_has_failed(tmp_path, capsys):
    row = dataclasses.replace(BOARD[0], check=fails)
    outcome = rows.run(row, tmp_path, True)
    assert outcome.result == Result(False, 1, 1, f"RuntimeError: {tmp_path.name} True")
    assert page.line(outcome).endswith("| **no** |")
    assert "RuntimeError" in capsys.readouterr().err


def test_no_trial_is_no_pass():
    assert not rows.count([]).passed


def test_a_row_without_a_check_has_not_passed():
    text = page.line(rows.run(Row(1, "A", "a | b", "c"), None, True))
    assert text == "| 1 | a / b | c | - | - | - | not run |"
    assert page.passed(text) == 0


def test_a_page_keeps_the_sections_that_were_not_run(tmp_path):
    file = tmp_path / "page.md"
    good, bad = Result(True, 3, 0, "all\nof it"), Result(False, 3, 1, "one | two")
    page.write(file, outcomes("B", good) + outcomes("C", bad), "first", 74)
    before = file.read_text()
    assert "**Rows passed: 9 / 74.**" in before and "* Row 18: all of it" in before
    page.write(file, outcomes("A", good), "second", 74)
    after = file.read_text()
    assert "**Rows passed: 26 / 74.**" in after
    assert after.index("## A.") < after.index("## B.") < after.index("## C.")
    assert "`second`" in after and after.endswith(before[before.index("## B.") :])
    page.write(file, outcomes("C", good), "third", 74)
    assert "**Rows passed: 33 / 74.**" in file.read_text()


def test_options_choose_rows():
    def chosen(**how):
        return [row.number for row in command.select(BOARD, command.Drill(**how))]

    assert chosen() == list(range(1, 75))
    assert chosen(sections="b,F") == [*range(18, 27), *range(55, 60)]
    assert chosen(rows="3,74") == [3, 74]
    for wrong in ({"rows": "75"}, {"sections": "A,Z"}):
        with pytest.raises(UserError, match=r"75|Z"):
            chosen(**wrong)
    with pytest.raises(UserError, match="whole sections"):
        main(["drill", "--rows", "1", "--out", "page.md"])
