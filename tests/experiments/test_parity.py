"""The figure of parity by length counts right answers, and says what it shows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.errors import UserError
from experiments.run import train
from experiments.tasks.parity import TASK
from tests.experiments.test_tasks import tiny

pytest.importorskip("matplotlib")

from experiments import parity  # noqa: E402  where there is what draws


@dataclasses.dataclass(frozen=True)
class Forgets:
    """Answers right for some steps, and then always wrong."""

    steps: int

    def apply(self, params, state, bits):
        del params
        answers = jnp.cumsum(bits, axis=1) % 2
        late = jnp.arange(bits.shape[1]) >= self.steps
        return state, jax.nn.one_hot(jnp.where(late, 1 - answers, answers), 2)


def test_right_answers_are_counted_in_the_last_quarter():
    options = TASK.options(length=64)
    lengths = parity.lengths_up_to(64)
    assert lengths == [4, 8, 16, 32, 64]
    found = parity.fractions(options, Forgets(30), {}, lengths, 9)
    np.testing.assert_allclose(found, [1, 1, 1, 6 / 8, 0])


def test_runs_become_a_table_and_a_figure(tmp_path, capsys):
    task, options = tiny("parity", tmp_path)
    for cell in ("gru", "lru"):
        out = tmp_path / "runs" / cell
        # 12 updates may leave a larger loss than the first one, which 1 would say.
        code = train.run(task, dataclasses.replace(options, cell=cell, out=out))
        assert code in (0, 1)
    capsys.readouterr()
    out = tmp_path / "parity.svg"
    words = ["parity", str(tmp_path / "runs"), "--longest", "20", "--sequences", "7"]
    assert main([*words, "--out", str(out)]) == 0
    head, _, gru, lru, path = capsys.readouterr().out.splitlines()
    assert head == "| cell | 5 | 10 | 20 |" and path == str(out)
    assert gru.startswith("| `gru` |") and lru.startswith("| `lru` |")
    assert out.read_text().count("<svg") == 1
    with pytest.raises(UserError, match="--longest must be at least 1"):
        main([*words[:2], "--longest", "0"])


def test_a_run_of_another_task_is_refused(finished):
    with pytest.raises(UserError, match="is a run of the task char_lm, not parity"):
        main(["parity", str(finished)])
