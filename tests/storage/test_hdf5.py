"""HDF5 files that are damaged, reach out of themselves or claim too much."""

import io
import warnings
import zipfile

import numpy as np
import pytest

from jrnn.interop import files

h5py = pytest.importorskip("h5py")


def write(path, **options):
    return h5py.File(path, "w", **options)


def test_arrays_come_back(tmp_path):
    path = tmp_path / "x.h5"
    values = {
        "a/vars/0": np.arange(6, dtype="float32").reshape(2, 3),
        "a/vars/1": np.arange(4, dtype="int8"),
        "b": np.array(3.5),
        "c": np.arange(3, dtype=">f8"),
    }
    with write(path) as file:
        for name, value in values.items():
            file[name] = value
        file.create_dataset("d", data=np.arange(300.0), compression="gzip", chunks=(7,))
        half = file.create_dataset("e", data=np.array([16256, 49152], "<u2").view("V2"))
        half.attrs["dtype"] = "bfloat16"
        file.attrs["keras_version"] = "3.1"
        file["a"].attrs["weight_names"] = ["vars/1", "vars/0"]
    arrays, metadata = files.load_arrays(path)
    for name, value in values.items():
        np.testing.assert_array_equal(arrays[name], value)
        assert arrays[name].dtype == value.dtype.newbyteorder("=")
    np.testing.assert_array_equal(arrays["d"], np.arange(300.0))
    assert arrays["e"].dtype.name == "bfloat16" and arrays["e"].tolist() == [1.0, -2.0]
    assert metadata == {
        "keras_version": "3.1",
        "weight_names a": '["vars/1", "vars/0"]',
    }


def external_link(file):
    file["x"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file):
    file["x"] = h5py.SoftLink("/a")


def cycle(file):
    file["g/h"] = file["g"] if "g" in file else file.create_group("g")


def twice(file):
    file["b"] = file["a"]


def external_storage(file):
    file.create_dataset("x", (8,), "u1", external=[("/etc/passwd", 0, 8)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("x", layout)


def huge(file):
    file.create_dataset("x", (1 << 40, 1 << 20), "f4", chunks=(1, 1 << 20))


def sparse(file):
    file.create_dataset("x", (1 << 20, 100), "f4", chunks=(1, 100), compression="gzip")[
        0
    ] = 1


def never_written(file):
    file.create_dataset("x", (4,), "f4")


def bomb(file):
    zeros = np.zeros(32 << 20, "u1")
    file.create_dataset("x", data=zeros, chunks=(1 << 20,), compression="gzip")


def lzf(file):
    file.create_dataset("x", data=np.arange(9.0), chunks=(9,), compression="lzf")


def objects(file):
    file.create_dataset("x", data=["text"], dtype=h5py.string_dtype())


def compound(file):
    file["x"] = np.zeros(2, [("a", "f4"), ("b", "f4")])


def named_type(file):
    file["x"] = np.dtype("f4")


def complex_numbers(file):
    file["x"] = np.zeros(2, "c8")


def climbing(file):
    file.create_group("a..").create_group("..\\x")


def deep(file):
    file["/".join("g" * 40)] = np.ones(2)


def number_attribute(file):
    file.attrs["model_config"] = 3


@pytest.mark.parametrize(
    "make, why",
    [
        (external_link, "got a ExternalLink"),
        (soft_link, "got a SoftLink"),
        (cycle, "appears twice"),
        (twice, "appears twice"),
        (external_storage, "must be in the file"),
        (virtual, "must be in the file"),
        (huge, "at most 1048576 bytes|its .* bytes"),
        (sparse, "bytes in the file"),
        (never_written, r"must have its 16 bytes in the file, got 0"),
        (bomb, "bytes in the file"),
        (lzf, "compressed by"),
        (objects, "must hold numbers"),
        (compound, "must hold numbers"),
        (named_type, "must be a group or an array"),
        (complex_numbers, "must hold numbers"),
        (climbing, "is not allowed"),
        (deep, "at most 32 deep"),
        (number_attribute, "must be text"),
    ],
)
def test_hostile_files_are_refused(make, why, tmp_path):
    path = tmp_path / "x.h5"
    with write(path) as file:
        file["a"] = np.ones(2, "f4")
        if make is cycle:
            file.create_group("g")
        make(file)
    limit = 1 << 20 if make is huge else files.MAX_BYTES
    if path.stat().st_size > limit:
        limit = path.stat().st_size
    with pytest.raises(files.FileError, match=why):
        files.load_arrays(path, max_bytes=limit)


def keras_file(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_archives_of_keras_are_refused_unless_plain(tmp_path):
    buffer = io.BytesIO()
    with write(buffer) as file:
        file["a"] = np.ones(2, "f4")
    good = {
        "metadata.json": '{"keras_version": "3.1"}',
        "config.json": '{"class_name": "Sequential"}',
        "model.weights.h5": buffer.getvalue(),
    }
    path = tmp_path / "x.keras"
    keras_file(path, good)
    arrays, metadata = files.load_arrays(path)
    assert arrays["a"].tolist() == [1, 1] and metadata["keras_version"] == "3.1"
    assert metadata["model_config"] == good["config.json"]
    for change, why in (
        ({"assets/../../x": b"1"}, "members must be"),
        ({"model.weights.h5": b"no"}, "cannot be parsed"),
        ({"metadata.json": b'{"keras_version": 3}'}, "must be text"),
        ({"config.json": bytes(64 << 20)}, "expand at most 100 times"),
    ):
        keras_file(path, good | change)
        with pytest.raises(files.FileError, match=why):
            files.load_arrays(path)
    keras_file(path, {k: v for k, v in good.items() if k != "config.json"})
    with pytest.raises(files.FileError, match="'config.json'. are missing"):
        files.load_arrays(path)


def test_damage_raises_or_changes_only_values(tmp_path):
    """A flipped bit never ends the process, and never gives anything but arrays."""
    path = tmp_path / "x.h5"
    with write(path) as file:
        file["a/b"] = np.ones((2, 3), "f4")
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(0, len(data), 150):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NaN
                arrays, _ = files.load_arrays(path)
            assert all(isinstance(each, np.ndarray) for each in arrays.values())
        except files.FileError:
            refused += 1
    for size in (0, 1, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(files.FileError):
            files.load_arrays(path)
    assert refused
