"""Files of PyTorch: tensors are read, and everything else is refused."""

import os

import ml_dtypes
import numpy as np
import pytest

from jrnn.interop import files

torch = pytest.importorskip("torch")


def test_pt_files_hold_tensors_or_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    tensors = {"w": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2).bfloat16()}
    torch.save(tensors, path)
    arrays, _ = files.load_arrays(path)
    np.testing.assert_array_equal(arrays["w"], [[0, 3], [1, 4], [2, 5]])
    assert arrays["b"].dtype == ml_dtypes.bfloat16 and arrays["b"].tolist() == [1, 1]
    content = bytearray(path.read_bytes())
    content[content.index(np.float32([5]).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(files.FileError, match="checksum"):
        files.load_arrays(path)
    torch.save({"w": torch.ones(2), "mask": torch.ones(3, dtype=torch.int8)}, path)
    assert files.load_arrays(path)[0]["mask"].dtype == np.int8
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(files.FileError, match="a legacy file of PyTorch"):
        files.load_arrays(path)
    for bad, message in [
        ({"w": os.getcwd}, "cannot be parsed"),
        (os.getcwd, "cannot be parsed"),
        ({"w": 3}, "must be a dictionary of tensors"),
        ({"epoch": 3, "model": {"w": torch.ones(2)}}, r"got \['epoch', 'model'\]"),
        ({"../w": torch.ones(2)}, "is not allowed"),
        ({"w": torch.ones(1).expand(2**40)}, "must have its .* bytes in the file"),
        ({"w": torch.ones(2).to_sparse()}, "must be a plain dense tensor"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "one of the dtypes float16"),
    ]:
        torch.save(bad, path)
        with pytest.raises(files.FileError, match=message):
            files.load_arrays(path)
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    with pytest.raises(files.FileError, match="needs PyTorch 2.10"):
        files.load_arrays(path)
