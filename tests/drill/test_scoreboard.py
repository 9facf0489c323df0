"""The scoreboard: every row once, counted and printed, and its page kept up to date."""

import dataclasses

import pytest

from experiments.drill import command, page, rows
from experiments.drill.rows import Outcome, Result, Row
from experiments.drill.suite import suite
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


def test_an_error_outside_of_tests_is_shown(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "def pytest_unconfigure(): raise ValueError('told you')"
    )
    tests = tmp_path / "test_fine.py"
    tests.write_text("def test_fine(): pass")
    found = suite(str(tests))(tmp_path, False)
    assert not found.passed and (found.trials, found.failures) == (1, 0)
    assert "told you" in found.note


def test_a_row_without_a_check_has_not_passed():
    text = page.line(rows.run(Row(1, "A", "a | b", "c"), None, True))
    assert text == "| 1 | a / b | c | - | - | - | not run |"
    assert page.passed(text) == 0


def test_a_page_keeps_the_sections_that_were_not_run(tmp_path):
    file = tmp_path / "page.md"
    good, bad = Result(True, 3, 0, "all\nof it"), Result(False, 3, 1, "one | two")
    page.write(file, outcomes("B", good) + outcomes("C", bad), "first", BOARD)
    before = file.read_text()
    assert "**Rows passed: 9 / 74.**" in before and "* Row 18: all of it" in before
    page.write(file, outcomes("A", good), "second", BOARD)
    after = file.read_text()
    assert "**Rows passed: 26 / 74.**" in after
    assert after.index("## A.") < after.index("## B.") < after.index("## C.")
    assert "`second`" in after and after.endswith(before[before.index("## B.") :])
    page.write(file, outcomes("C", good), "third", BOARD)
    assert "**Rows passed: 33 / 74.**" in file.read_text()


def test_a_page_keeps_the_rows_that_were_not_run(tmp_path):
    file = tmp_path / "page.md"
    good, bad = Result(True, 3, 0, "all of it"), Result(False, 3, 1, "one")
    one, two, *_, last = outcomes("F", good)
    page.write(file, [one, two._replace(result=bad)], "first", BOARD)
    page.write(file, [two._replace(seconds=2.5), last], "second", BOARD)
    text = file.read_text()
    assert "**Rows passed: 3 / 74.**" in text and text.count("not run") == 2
    assert "Made by `first` on" in text and "Made by `second` on" in text
    assert page.line(one) in text and page.line(two._replace(seconds=2.5)) in text
    notes = [f"* Row {each.row.number}: all of it" for each in (one, two, last)]
    assert "\n".join(notes) in text
    page.write(file, outcomes("F", good), "third", BOARD)
    assert file.read_text().count("Made by") == 1


def test_options_choose_rows():
    def chosen(**how):
        return [row.number for row in command.select(BOARD, command.Drill(**how))]

    assert chosen() == list(range(1, 75))
    assert chosen(sections="b,F") == [*range(18, 27), *range(55, 60)]
    assert chosen(rows="3,74") == [3, 74]
    for wrong in ({"rows": "75"}, {"sections": "A,Z"}):
        with pytest.raises(UserError, match=r"75|Z"):
            chosen(**wrong)
