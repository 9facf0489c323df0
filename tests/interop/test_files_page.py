"""The page on files and ONNX: its code runs from top to bottom."""

import pathlib
import re

import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "files.md"


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    exec("\n".join(blocks), {})
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"model.safetensors", "gru.npz", "model.onnx"}
