"""Files of named arrays: round trips, damage and failed writes."""

import os

import ml_dtypes
import numpy as np
import pytest

from jrnn.interop import files

ARRAYS = {
    "a/w_x": np.arange(6, dtype=np.float32).reshape(2, 3) + 1,
    "b.step": np.array(7),
    "key": np.array([1, 2**32 - 1], np.uint32),
    "flags": np.array([True, False, True]),
    "empty": np.zeros((0, 4), np.float16),
    "wide": np.asfortranarray(np.arange(8.0).reshape(2, 4)),
    "int": np.array([-3], np.int32),
}
SUFFIXES = [".safetensors", ".npz"]


def assert_equal_arrays(actual, expected):
    assert sorted(actual) == sorted(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype, name
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_come_back_as_they_were(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    text = {"step": "12", "note": "ü\n"}
    files.save_arrays(path, ARRAYS, text)
    first = path.read_bytes()
    arrays, metadata = files.load_arrays(path, signed=True)
    assert_equal_arrays(arrays, ARRAYS)
    assert metadata == text
    files.save_arrays(path, dict(reversed(ARRAYS.items())), text)
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_other_libraries_read_and_write_the_same_files(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    plain = {name: np.ascontiguousarray(array) for name, array in ARRAYS.items()}
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    files.save_arrays(ours, plain)
    assert_equal_arrays(library.load_file(ours), plain)
    library.save_file(plain, theirs)
    assert_equal_arrays(files.load_arrays(theirs)[0], plain)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "theirs.npz", **plain)
        assert_equal_arrays(files.load_arrays(tmp_path / "theirs.npz")[0], plain)
    files.save_arrays(tmp_path / "ours.npz", plain)
    with np.load(tmp_path / "ours.npz") as found:
        assert_equal_arrays({name: found[name] for name in plain}, plain)


def test_bfloat16_goes_to_safetensors_and_not_to_npz(tmp_path):
    array = np.arange(3).astype(ml_dtypes.bfloat16)
    path = tmp_path / "half.safetensors"
    files.save_arrays(path, {"w": array})
    assert_equal_arrays(files.load_arrays(path)[0], {"w": array})
    with pytest.raises(files.FileError, match="Use .safetensors"):
        files.save_arrays(tmp_path / "half.npz", {"w": array})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_damage_goes_unnoticed(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    text = {"step": "12"}
    files.save_arrays(path, ARRAYS, text)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(1000):
        bad = bytearray(good)
        for at in rng.integers(len(bad), size=1 + trial % 3):
            bad[at] ^= rng.integers(1, 256)
        if trial % 10 == 0:
            bad = bad[: rng.integers(len(bad))]
        path.write_bytes(bad)
        try:
            arrays, metadata = files.load_arrays(path, signed=trial % 2 == 0)
        except files.FileError:
            refused += 1
        else:  # a byte that carries nothing, such as a date in a zip file
            assert_equal_arrays(arrays, ARRAYS)
            assert metadata == text
    assert refused > 500


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    files.save_arrays(path, ARRAYS)
    before = path.read_bytes()

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.save_arrays(path, {"other": np.zeros(3)})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.npz"]


def test_names_and_dtypes_that_cannot_be_read_back_are_not_written(tmp_path):
    for bad in [
        {"../x": np.zeros(2)},
        {"a": np.array("text")},
        {"a": np.zeros(2, ">f4")},
    ]:
        with pytest.raises(files.FileError):
            files.save_arrays(tmp_path / "a.npz", bad)
    with pytest.raises(files.FileError, match="suffix"):
        files.save_arrays(tmp_path / "a.pt", ARRAYS)
    assert not list(tmp_path.iterdir())


def test_nan_is_read_with_a_warning(tmp_path):
    path = tmp_path / "a.npz"
    files.save_arrays(path, {"w": np.array([1.0, np.nan])})
    with pytest.warns(UserWarning, match="NaN or infinity in .'w'."):
        files.load_arrays(path)
