"""A few rows of the scoreboard, with a few trials each. The others take minutes."""

import pytest

from experiments.drill import rows

ROWS = {row.number: row for row in rows.all_rows()}


@pytest.mark.parametrize("number", [3, 11, 12, 13, 14, 16, 17])
def test_a_row_passes(number, tmp_path):
    outcome = rows.run(ROWS[number], tmp_path, quick=True)
    assert outcome.result.passed, outcome.result.note
