"""`jrnn.interop` imports another library only on first use of a module for it."""

import subprocess
import sys

import pytest

import jrnn

LIBRARIES = ["torch", "keras", "flax", "haiku", "equinox", "onnx"]


def imported_by(code):
    """Returns the libraries that a program imports, as text."""
    shown = f"import sys; print([m for m in {LIBRARIES} if m in sys.modules])"
    run = [sys.executable, "-c", f"import jrnn; {code}; {shown}"]
    out = subprocess.run(run, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout.strip()


def test_conversions_of_weights_import_no_other_library():
    names = [f"jrnn.interop.{library}.weights" for library in LIBRARIES[:-1]]
    names += ["jrnn.interop.onnx.to_operator", "jrnn.interop.export"]
    assert imported_by(", ".join([*names, "jrnn.interop.files"])) == "[]"


@pytest.mark.parametrize(
    "library, name",
    [
        ("haiku", "HaikuCell"),
        ("haiku", "HaikuLayer"),
        ("equinox", "EquinoxCell"),
        ("equinox", "EquinoxLayer"),
        ("flax", "LinenCell"),
        ("flax", "LinenLayer"),
        ("flax", "FromLinen"),
        ("flax", "NNXCell"),
        ("flax", "NNXLayer"),
        ("flax", "FromNNX"),
        ("flax", "linen"),
        ("flax", "nnx"),
        ("onnx", "from_model"),
        ("onnx", "to_model"),
    ],
)
def test_modules_are_imported_on_first_use(library, name):
    pytest.importorskip(library)
    package = getattr(jrnn.interop, library)
    assert name in dir(package)
    assert getattr(package, name).__name__.endswith(name)


def test_names_are_listed_and_unknown_names_are_errors():
    assert {"torch", "files", "export"} <= set(dir(jrnn.interop))
    with pytest.raises(AttributeError, match="'jrnn.interop' has no attribute 'caffe'"):
        _ = jrnn.interop.caffe
    with pytest.raises(AttributeError, match="no attribute 'HaikuCore'"):
        _ = jrnn.interop.haiku.HaikuCore


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "haiku", None)
    monkeypatch.delitem(sys.modules, "jrnn.interop.haiku.modules", raising=False)
    with pytest.raises(ModuleNotFoundError, match="needs 'haiku'.*pip install"):
        _ = jrnn.interop.haiku.HaikuCell
