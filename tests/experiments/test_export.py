"""Exported models compute what the model of the run computes, and say what they are."""

import functools
import json
import pathlib
import re
import textwrap

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.errors import UserError
from experiments.report import sampler_page
from experiments.run import export, folder
from jrnn.interop import files
from jrnn.storage import named_arrays
from tests.experiments.tiny import tiny

IDS = [[1, 3, 2, 4], [1, 2, 2, 3]]


def drawn(name, tmp_path, **changes):
    """Returns a run of a task, its model, and random parameters without zeros."""
    task, options = tiny(name, tmp_path)
    options = options.from_json(options.to_json() | changes)
    run = folder.Run(task, options, task.load(options))
    model = task.model(options, run.data.saved)
    params = jax.jit(functools.partial(task.init, model))(jax.random.key(1))
    rng = np.random.default_rng(2)

    def with_noise(leaf):
        noise = rng.standard_normal(leaf.shape).astype(leaf.dtype)
        return jax.device_put(
            np.asarray(leaf) + (2.0 if leaf.ndim > 1 else 0.1) * noise
        )

    return run, model, jax.tree.map(with_noise, params)


def called(run, model, params, *given):
    data, _ = export.stablehlo(run, model, params)
    return jax.export.deserialize(bytearray(data)).call(*given)


def test_a_model_that_runs_step_by_step_takes_its_state(tmp_path):
    run, model, params = drawn("parity", tmp_path)
    bits = jnp.array([[0, 1, 1], [1, 0, 0]], jnp.int32)
    state = jax.tree.map(lambda leaf: leaf + 0.5, model.initial_state(params, (2,)))
    reset = jnp.array([[False, False, True], [False] * 3])
    wanted, ys = model.apply(params, state, bits, reset=reset)
    found, logits = called(run, model, params, bits, named_arrays.flatten(state), reset)
    np.testing.assert_allclose(logits, ys, rtol=1e-5, atol=1e-6)
    for name, leaf in named_arrays.flatten(wanted).items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-5, atol=1e-6)


def test_the_snippet_of_the_page_runs_a_program(tmp_path, monkeypatch):
    run, model, params = drawn("parity", tmp_path)
    data, _ = export.stablehlo(run, model, params)
    (tmp_path / "model.stablehlo").write_bytes(data)
    page = pathlib.Path(__file__).parents[2] / "docs" / "experiments.md"
    (code,) = re.findall(
        r"\n\n((?: {4}.*\n|\n)*.*deserialize.*\n(?:.+\n)*)", page.read_text()
    )
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(textwrap.dedent(code).replace("[[5]]", "[[1]]"), names)
    wanted = model.apply(params, None, jnp.array([[1]]))[1]
    np.testing.assert_allclose(names["logits"], wanted, rtol=1e-5, atol=1e-6)


def test_a_classifier_takes_its_input_only(tmp_path):
    run, model, params = drawn("digits", tmp_path)
    xs = jax.random.normal(jax.random.key(0), (3, 7, 1), jnp.float32)
    ys = model.apply(params, None, xs)[1]
    found = called(run, model, params, xs)
    np.testing.assert_allclose(found, ys, rtol=1e-5, atol=1e-6)


def test_models_that_are_no_layer_export_a_function_of_their_own(tmp_path):
    run, model, params = drawn("addition", tmp_path)
    given = jnp.asarray(run.data.held_out["source"], jnp.int32)
    width = run.data.saved["width"]
    lengths = jnp.sum(given != 12, axis=-1)  # the last symbol is a space
    answers = model.generate(params, given, width, lengths=lengths, end=0)
    found = called(run, model, params, given)
    np.testing.assert_array_equal(found, answers)
    assert len(np.unique(np.asarray(found))) > 1
    with pytest.raises(ValueError, match="its model is not a layer"):
        export.onnx_model(run, model, params)

    run, model, params = drawn("names", tmp_path)
    ids = jnp.array(IDS, jnp.int32)
    category = jnp.array([0, 0], jnp.int32)
    state = model.start(params, category)
    _, logits = model.writer.apply(params["writer"], state, ids)
    found = called(run, model, params, category, ids)
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "platforms, checked",
    [
        (["cpu"], "read back and compared"),
        (["tpu"], "read back, not compared, because this machine has no tpu"),
        (["rocm"], "read back, not compared, because this machine has no rocm"),
        (["cpu", "tpu"], "read back, compared on cpu only, because"),
    ],
)
def test_the_command_says_where_a_program_was_compared(
    finished, tmp_path, capsys, platforms, checked
):
    words = ["export", str(finished), "--format", "stablehlo", "--platforms"]
    assert main([*words, *platforms, "--out", str(tmp_path / "model.hlo")]) == 0
    assert f"bytes, {checked}" in capsys.readouterr().out


@pytest.mark.parametrize("platforms", [("cuda",), ("cpu", "cuda", "rocm", "tpu")])
@pytest.mark.parametrize("name", ["parity", "digits"])
def test_a_program_is_lowered_for_other_platforms(tmp_path, name, platforms):
    data, here = export.stablehlo(*drawn(name, tmp_path), platforms)
    assert ("cpu" in here) == ("cpu" in platforms) and set(here) <= {*platforms}
    assert jax.export.deserialize(bytearray(data)).platforms == platforms


def test_layers_of_both_directions_are_exported(tmp_path):
    run, model, params = drawn("code_tags", tmp_path)
    ids = jnp.array(IDS, jnp.int32)
    found = called(run, model, params, ids)
    wanted = model.apply(params, None, ids)[1]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_onnx_has_the_models_of_its_operators_only(tmp_path):
    onnx = pytest.importorskip("onnx")
    run, model, params = drawn("parity", tmp_path)
    made = onnx.load_from_string(export.onnx_model(run, model, params))
    assert {node.op_type for node in made.graph.node} >= {"LSTM", "Gather", "MatMul"}
    assert {e.key: e.value for e in made.metadata_props}["task"] == "parity"
    run, model, params = drawn("parity", tmp_path, cell="mingru")
    with pytest.raises(ValueError, match="MinGRU"):
        export.onnx_model(run, model, params)


def test_a_model_that_cannot_be_exported_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    mingru = drawn("parity", tmp_path, cell="mingru")
    monkeypatch.setattr(folder, "trained", lambda *given: mingru)
    out = tmp_path / "model.onnx"
    words = ["export", "RUN", "--format", "onnx", "--out", str(out)]
    with pytest.raises(UserError, match="RUN cannot be exported as onnx: .*MinGRU"):
        main(words)
    assert not out.exists()


def test_the_command_writes_whole_files_or_none(finished, tmp_path, capsys):
    out = tmp_path / "model.safetensors"
    words = ["export", str(finished), "--format", "safetensors", "--out"]
    assert main([*words, str(out)]) == 0
    assert "read back and compared" in capsys.readouterr().out
    arrays, metadata = files.load_arrays(out, signed=True)
    run, model, params = folder.trained(finished)
    assert metadata["task"] == "char_lm" and metadata["vocabulary"].startswith("{")
    assert json.loads(metadata["options"])["hidden_size"] == 5
    np.testing.assert_array_equal(arrays["0.table"], params[0].table)

    with pytest.raises(UserError, match="must end in .safetensors"):
        main([*words, str(tmp_path / "model.bin")])
    with pytest.raises(UserError, match="does not exist: create it"):
        main([*words, str(tmp_path / "none" / "model.safetensors")])
    words[3] = "stablehlo"
    with pytest.raises(UserError, match="abacus.*--platforms.*cpu.*cuda.*rocm.*tpu"):
        main([*words, str(tmp_path / "model.hlo"), "--platforms", "abacus"])
    words[3] = "html"
    assert list(tmp_path.iterdir()) == [out]
    assert main([*words, str(tmp_path / "model.html")]) == 0
    page = (tmp_path / "model.html").read_text()
    assert page == sampler_page(finished) and "</html>" in page
    assert main([*words, str(tmp_path / "model.html"), "--best"]) == 0
    page = (tmp_path / "model.html").read_text()
    assert page == sampler_page(finished, best=True)
