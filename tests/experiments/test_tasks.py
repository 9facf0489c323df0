"""Every task trains, scores, resumes bit for bit, and shows what it makes."""

import dataclasses
import functools
import json
import pathlib
import re

import jax
import numpy as np
import pytest

import jrnn
from experiments import tasks
from experiments.__main__ import main
from experiments.errors import UserError
from experiments.run import folder, models, train
from experiments.run.options import Options
from experiments.tasks import parts
from jrnn import kernels
from tests.experiments.runs import newest
from tests.experiments.tiny import TINY, tiny

# One task of each kind is trained twice; the others share all of that code.
RESUMED = ["addition", "names", "parity"]


@pytest.mark.parametrize("name", TINY)
def test_a_task_trains_and_its_score_is_found_again(
    name, tmp_path, monkeypatch, capsys
):
    task, options = tiny(name, tmp_path)
    assert train.run(task, options) in (0, train.DIVERGED)
    shown = capsys.readouterr().out
    assert "held out" in shown and "updates" in shown
    result = json.loads((options.out / "result.json").read_text())
    monkeypatch.setattr("experiments.run.devices.prepare", lambda devices: None)
    monkeypatch.setattr("sys.stdout.reconfigure", lambda **how: None, raising=False)
    assert main(["eval", str(options.out)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for key, value in figures.items():
        assert result["figures"][key] == pytest.approx(value, rel=1e-6), key
        assert np.isfinite(value)
    assert all(set(one) <= set(figures) for one in result["baselines"].values())
    goals = task.goals(options, folder.read(options.out).data)
    assert {goal.figure for goal in goals} <= set(figures)


@pytest.mark.parametrize("name", RESUMED)
def test_a_stopped_run_of_a_task_resumes_bit_for_bit(name, tmp_path):
    task, options = tiny(name, tmp_path)
    train.run(task, options)
    part = dataclasses.replace(options, out=tmp_path / "part", stop_after=5)
    train.run(task, part)
    old = folder.read(part.out).options
    train.run(task, dataclasses.replace(old, resume=part.out), old)
    assert newest(part.out) == newest(options.out)


@pytest.mark.parametrize("name", TINY)
def test_rows_of_a_batch_do_not_depend_on_the_devices(name, tmp_path):
    task, options = tiny(name, tmp_path)
    arrays = jax.device_put(task.load(options).arrays)
    batch = jax.jit(functools.partial(task.batch, options))
    step, rows = np.int32(3), np.arange(4, dtype=np.int32)
    whole, part, other = jax.tree.map(
        np.asarray,
        (
            batch(arrays, step, rows),
            batch(arrays, step, rows[2:]),
            batch(arrays, step + 1, rows),
        ),
    )
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[2:], b), whole, part)
    assert any(
        np.any(a != b)
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(other), strict=True)
    )


@pytest.mark.parametrize("name", ["chorales", "names"])
def test_the_losses_of_devices_average_to_that_of_the_batch(name, tmp_path):
    task, options = tiny(name, tmp_path)
    data = task.load(options)
    model = task.model(options, data.saved)
    step = np.int32(5 if name == "chorales" else 6)

    @jax.jit
    def of_rows(params, arrays, rows):
        batch = task.batch(options, arrays, step, rows)
        return task.loss(model, params, (), batch, None)[0], task.weight(batch)

    params = jax.jit(functools.partial(task.init, model))(jax.random.key(0))
    arrays, losses, weights = jax.device_put(data.arrays), [], []
    for rows in ([0, 1, 2, 3], [0], [1, 2, 3]):
        loss, weight = of_rows(params, arrays, np.array(rows, np.int32))
        losses.append(float(loss))
        weights.append(float(weight))
    assert 3 * weights[1] != weights[2] and weights[0] == sum(weights[1:])
    assert losses[0] == pytest.approx(np.average(losses[1:], weights=weights[1:]))


def test_the_list_has_every_task(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for name in tasks.TABLE:
        assert name in shown and tasks.find(name).name == name
    assert set(TINY) | {"char_lm"} == set(tasks.TABLE)


def test_the_page_has_a_row_of_every_task():
    page = pathlib.Path(__file__).parents[2] / "docs" / "experiments.md"
    table = page.read_text().partition("| Task | Kind | Data |")[2].partition("\n\n")[0]
    first = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(first))) == set(tasks.TABLE)


def test_the_length_of_a_run_is_that_of_its_task():
    options = tasks.find("parity").options
    assert options().budget == (None, options.UPDATES) and options.UPDATES > 0
    assert options(minutes=3.0).budget == (3.0, None)
    assert options(steps=7).budget == (None, 7)
    assert Options().budget == (2.0, None)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UserError, match="Do you mean digits"):
        tasks.find("digit")


@pytest.mark.parametrize(
    ("name", "reason"), [("none.mat", "No such file"), ("", "Is a directory")]
)
def test_chorales_that_cannot_be_read_are_told(name, reason, tmp_path):
    pytest.importorskip("scipy")
    task = tasks.find("chorales")
    with pytest.raises(UserError, match=f"cannot read {tmp_path / name}: {reason}"):
        task.load(task.options(data=tmp_path / name))


def test_an_unknown_cell_names_the_nearest(tmp_path):
    task, options = tiny("parity", tmp_path)
    with pytest.raises(UserError, match="--cell lstn is not a cell. Do you mean lstm"):
        train.run(task, dataclasses.replace(options, cell="lstn"))
    for name, near in [("LSTM", "lstm"), ("MinGRU", "mingru")]:
        with pytest.raises(UserError, match=rf"{name} is not .* mean {near}\?"):
            models.make_cell(Options(cell=name))
    with pytest.raises(
        UserError, match="--method must be auto or one of .* got gatted"
    ):
        train.run(task, dataclasses.replace(options, method="gatted"))
    assert not options.out.exists()


def test_a_method_that_cannot_run_the_cell_makes_no_folder(tmp_path):
    task, options = tiny("parity", tmp_path)
    options = dataclasses.replace(options, method="linear")
    with pytest.raises(
        UserError, match="--method linear with --cell lstm: it needs a cell whose form"
    ):
        train.run(task, options)
    assert not options.out.exists()
    for changes in ({"cell": "mingru"}, {"method": "auto"}):
        models.check_cell(task.cell, dataclasses.replace(options, **changes))


def test_a_method_must_run_the_cell_in_the_wrappers_of_the_task(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels.cudnn, "unavailable", lambda: None)
    task, options = tiny("word_lm", tmp_path)
    options = dataclasses.replace(options, method="cudnn")
    with pytest.raises(UserError, match="computes only `jrnn.LSTM`, not WeightDrop"):
        train.run(task, options)
    sweep = ["sweep", "word_lm", "--text", str(options.text), "--method", "cudnn"]
    with pytest.raises(UserError, match="computes only `jrnn.LSTM`, not WeightDrop"):
        main([*sweep, "--grid", "drop-weights=0,0.1", "--out", str(options.out)])
    assert not options.out.exists()
    for changes in ({"variant": "plain"}, {"drop_weights": 0.0}):
        models.check_cell(task.cell, dataclasses.replace(options, **changes))


@pytest.mark.parametrize(
    "cell", [*sorted(models.cells()), *(f"{w}(gru)" for w in models.WRAPPERS)]
)
def test_every_cell_of_the_option_can_be_initialized(cell):
    layers = models.recurrent(Options(cell=cell, hidden_size=16))
    params = jax.eval_shape(
        lambda key: jrnn.Sequential(*layers).init(key, 5), jax.random.key(0)
    )
    assert jax.tree.leaves(params)


def test_chrono_draws_long_memories():
    cell = models.make_cell(Options(cell="chrono(lstm)", hidden_size=99))
    bias = cell.init(jax.random.key(0), 3).b_x.reshape(4, 99)
    assert bias[1].min() >= 0 and np.log(150) < bias[1].max() < np.log(199)
    np.testing.assert_array_equal(bias[0], -bias[1])
    with pytest.raises(UserError, match="chrono needs a cell with a forget gate"):
        models.make_cell(Options(cell="chrono(elman)"))


@pytest.mark.parametrize(
    "cell",
    [
        "multihead(multihead(gru))",
        "cutrecurrentgradient(mingru)",
        "layernormed(mingru)",
        "multihead(mingru)",
    ],
)
def test_a_cell_that_a_wrapper_does_not_support_is_one_line(cell):
    with pytest.raises(UserError, match=r"--cell .* with --hidden-size 16: ") as caught:
        models.make_cell(Options(cell=cell, hidden_size=16))
    assert cell in str(caught.value) and "\n" not in str(caught.value)


def test_recurrent_weights_that_a_wrapper_does_not_support_are_one_line(tmp_path):
    task, options = tiny("parity", tmp_path)
    with pytest.raises(UserError, match="needs a cell whose recurrent map"):
        train.run(task, dataclasses.replace(options, cell="multihead(slstm)"))
    assert not options.out.exists()


def test_a_mistake_in_the_model_of_a_task_is_not_blamed_on_the_cell(
    tmp_path, monkeypatch
):
    task, options = tiny("parity", tmp_path)

    class Bad:
        def init(self, key):
            return {}

    monkeypatch.setattr(type(task), "model", lambda *given: Bad())
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtype'"):
        train.run(task, options)


@pytest.mark.parametrize(
    "cell", ["multihead(gru", "multihead(gru))", "chrono(chrono(lstm", "lstm)", "gru()"]
)
def test_brackets_that_are_not_balanced_are_refused(cell):
    with pytest.raises(UserError, match=r"--cell \S+ is not a cell\."):
        models.make_cell(Options(cell=cell, hidden_size=16))


def test_a_size_that_does_not_fit_is_one_line(tmp_path, monkeypatch):
    task, options = tiny("sunspots", tmp_path)
    monkeypatch.setattr(models, "SAME_SIZE", ())  # a layer of another input size
    for cell in ("rglru", "multihead(gru)"):
        with pytest.raises(UserError, match="--hidden-size 5: .*") as caught:
            train.run(task, dataclasses.replace(options, cell=cell, hidden_size=5))
        assert "\n" not in str(caught.value)
    assert not options.out.exists()


def test_a_config_of_another_model_is_not_called_damage(tmp_path):
    task, options = tiny("parity", tmp_path)
    train.run(task, dataclasses.replace(options, stop_after=5))
    file = options.out / "config.json"
    file.write_text(file.read_text().replace('"hidden_size": 4', '"hidden_size": 6'))
    old = folder.read(options.out).options
    with pytest.raises(UserError, match="options.hidden_size was 4 and is now 6"):
        train.run(task, dataclasses.replace(old, resume=options.out), old)
    with pytest.raises(UserError, match="different model than .* are undamaged"):
        folder.trained(options.out)


def test_a_mean_counts_every_example_once():
    arrays = {"x": np.arange(11.0)}
    found = parts.mean_over_examples(
        lambda batch: {"x": batch["x"], "two": 2 * batch["x"]},
        arrays,
        lambda fraction: None,
        size=4,
    )
    assert found == {"x": 5.0, "two": 10.0}


def test_the_sunspot_baseline_is_the_published_one():
    task = tasks.find("sunspots")
    about = task.load(task.options()).about["baseline"]
    assert "0.126 in 1921-55 and 0.351 in 1956-79" in about  # published: .127, .353


def test_questions_that_are_scored_are_not_in_training():
    task = tasks.find("addition")
    data = task.load(task.options(examples=400, held_out=50))
    both = np.concatenate([data.arrays["source"], data.held_out["source"]])
    assert len(np.unique(both, axis=0)) == len(both) == 400
