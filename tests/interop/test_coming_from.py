"""The page for those who come from another library: both sides give one result."""

import pathlib
import re

import numpy as np
import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "coming_from.md"
LIBRARIES = {
    "PyTorch": ["torch"],
    "Keras": ["keras", "h5py"],
    "Flax linen": ["flax"],
    "Flax nnx": ["flax"],
    "Haiku": ["haiku"],
}
RESULTS = ["ys", "h", "c", "count"]


def sections():
    """Returns the blocks of code of each section, by the name of its library."""
    parts = re.split(r"^## (.+?): .*$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    code = re.compile(r"```python\n(.*?)```", re.DOTALL)
    return dict(zip(parts[::2], map(code.findall, parts[1::2]), strict=True))


def numpy(value):
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def test_every_section_is_run():
    assert set(sections()) == set(LIBRARIES)


@pytest.mark.without("jax_enable_x64", reason="the cells of Flax mix dtypes then")
@pytest.mark.parametrize("name", LIBRARIES)
def test_both_sides_compute_the_same(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the page writes files
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    for module in LIBRARIES[name]:
        pytest.importorskip(module)
    blocks = sections()[name]
    assert len(blocks) % 2 == 0 and len(blocks) >= 4
    scope = {}
    for theirs, ours in zip(blocks[::2], blocks[1::2], strict=True):
        exec(theirs, scope)  # the page's own code
        expected = {key: numpy(scope.pop(key)) for key in RESULTS if key in scope}
        exec(ours, scope)
        assert expected
        for key, value in expected.items():
            actual = numpy(scope.pop(key))
            np.testing.assert_allclose(actual, value, atol=2e-6, err_msg=key)
