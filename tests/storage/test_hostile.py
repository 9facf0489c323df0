"""Weight files made to do harm, and files that are not ours."""

import io
import json
import os
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from jrnn.interop import files


def safetensors(header, body=b"", size=None):
    """Returns the bytes of a file with this header, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if size is None else size
    return struct.pack("<Q", size) + text + body


def entry(begin, end, shape=None, dtype="F32"):
    shape = [(end - begin) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def npy(array):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=True)
    return stream.getvalue()


def npy_header(shape, descr="'<f4'", version=1):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H", len(text))
        + text.encode()
    )


def archive(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made:
        for name, content in members:
            made.writestr(zipfile.ZipInfo(name), content, compression)
    return stream.getvalue()


BODY = b"\0" * 8
PICKLE = pickle.dumps(os.getcwd)
HOSTILE = {
    "empty.safetensors": b"",
    "short.safetensors": b"\1\0\0",
    "header_of_2_to_the_62.safetensors": struct.pack("<Q", 2**62) + b"{}",
    "header_past_the_end.safetensors": safetensors({}, size=99),
    "header_is_a_list.safetensors": safetensors([]),
    "header_is_no_json.safetensors": safetensors(b"{'a': 1}"),
    "header_is_no_text.safetensors": safetensors(b'{"\xff": 1}'),
    "header_is_deep.safetensors": safetensors(b'{"a":' + b"[" * 100000),
    "huge_number.safetensors": safetensors(
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 9999 + b'],"data_offsets":[0,0]}}'
    ),
    "million_entries.safetensors": safetensors(
        b"{" + b",".join(b'"%d":{}' % i for i in range(10**6)) + b"}"
    ),
    "many_entries.safetensors": safetensors({str(i): 0 for i in range(70000)}),
    "overlap.safetensors": safetensors({"a": entry(0, 8), "b": entry(4, 8)}, BODY),
    "gap.safetensors": safetensors({"a": entry(0, 4), "b": entry(8, 12)}, BODY + BODY),
    "extra_bytes.safetensors": safetensors({"a": entry(0, 4)}, BODY),
    "out_of_range.safetensors": safetensors({"a": entry(0, 2**40)}, BODY),
    "negative.safetensors": safetensors({"a": entry(-4, 4)}, BODY),
    "wrong_count.safetensors": safetensors({"a": entry(0, 8, [3])}, BODY),
    "negative_axes.safetensors": safetensors({"a": entry(0, 8, [-1, -2])}, BODY),
    "overflow.safetensors": safetensors({"a": entry(0, 8, [2**63, 2**63])}, BODY),
    "float_shape.safetensors": safetensors({"a": entry(0, 8, [2.0])}, BODY),
    "bool_shape.safetensors": safetensors({"a": entry(0, 4, [True])}, BODY[:4]),
    "nine_axes.safetensors": safetensors({"a": entry(0, 4, [1] * 9)}, BODY[:4]),
    "bad_dtype.safetensors": safetensors({"a": entry(0, 8, [8], "F8_E4M3")}, BODY),
    "dtype_list.safetensors": safetensors({"a": entry(0, 8, [2], ["F32"])}, BODY),
    "bad_bool.safetensors": safetensors({"a": entry(0, 1, [1], "BOOL")}, b"\2"),
    "extra_key.safetensors": safetensors({"a": {**entry(0, 8), "x": 1}}, BODY),
    "metadata_not_text.safetensors": safetensors({"__metadata__": {"a": 1}}),
    "same_name_twice.safetensors": safetensors(
        b'{"a":%s,"a":%s}' % ((json.dumps(entry(0, 8)).encode(),) * 2), BODY
    ),
    "no_zip.npz": b"PK\3\4 not really",
    "bomb.npz": archive(
        [("a.npy", npy(np.zeros(17 << 20, bool)))], zipfile.ZIP_DEFLATED
    ),
    "four_tebibytes.npz": archive([("a.npy", npy_header((2**40,)) + BODY)]),
    "wrong_count.npz": archive([("a.npy", npy_header((3,)) + BODY)]),
    "negative_axis.npz": archive([("a.npy", npy_header((-1, -2)) + BODY)]),
    "nine_axes.npz": archive([("a.npy", npy(np.zeros((1,) * 9)))]),
    "objects.npz": archive([("a.npy", npy(np.array([os.getcwd, 1], object)))]),
    "strings.npz": archive([("a.npy", npy(np.array(["text"])))]),
    "structured.npz": archive([("a.npy", npy(np.zeros(2, "f4,i4")))]),
    "complex.npz": archive([("a.npy", npy(np.zeros(2, complex)))]),
    "code_in_header.npz": archive([("a.npy", npy_header("__import__('os')"))]),
    "deep_header.npz": archive([("a.npy", npy_header("(" * 9000 + ")" * 9000))]),
    "version_three.npz": archive([("a.npy", npy_header((2,), version=3) + BODY)]),
    "pickle.npz": PICKLE,
    "pickle_inside.npz": archive([("a.npy", PICKLE)]),
    "no_npy.npz": archive([("a.txt", npy(np.zeros(2)))]),
    "wrong_suffix.bin": b"",
}
for number, bad in enumerate(
    ["../x", "/x", "a/../../x", "a\\x", "a\0x", "a" * 300, "C:/x", ""]
):
    HOSTILE[f"name_{number}.safetensors"] = safetensors({bad: entry(0, 8)}, BODY)
    HOSTILE[f"name_{number}.npz"] = archive([(f"{bad}.npy", npy(np.zeros(2)))])


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_fast_and_in_little_memory(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    size = len(HOSTILE[name])
    before = sorted(os.walk(tmp_path))
    tracemalloc.start()
    start = time.monotonic()
    with pytest.raises(files.FileError, match=name):
        files.load_arrays(path)
    spent, peak = time.monotonic() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent < 3 and peak < 200e6 + size, (spent, peak)
    assert sorted(os.walk(tmp_path)) == before


def test_overlapping_repeated_and_encrypted_members_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    good = archive([("a.npy", npy(np.zeros(2))), ("b.npy", npy(np.ones(2)))])
    directory = good.index(b"PK\1\2")
    second = good.index(b"PK\1\2", directory + 1)
    offset = slice(second + 42, second + 46)
    for change, at in [
        (b"\0\0\0\0", offset),  # both members at one place
        (b"a.npy", slice(second + 46, second + 51)),
        (b"\1", slice(second + 8, second + 9)),
    ]:
        bad = bytearray(good)
        bad[at] = change
        path.write_bytes(bad)
        with pytest.raises(files.FileError):
            files.load_arrays(path)


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    path = tmp_path / "a.npz"
    files.save_arrays(path, {"a": np.arange(99.0)})
    link, pipe, folder = (tmp_path / f"{n}.npz" for n in ("link", "pipe", "folder"))
    link.symlink_to(path)
    os.mkfifo(pipe)
    folder.mkdir()
    for irregular in (link, pipe, folder):
        with pytest.raises((files.FileError, IsADirectoryError)):
            files.load_arrays(irregular)
    with pytest.raises(files.FileError, match="at most 100 bytes"):
        files.load_arrays(path, max_bytes=100)
    big = tmp_path / "big.npz"
    np.savez_compressed(big, a=np.zeros(1000))
    with pytest.raises(files.FileError, match="expand to more than 4000"):
        files.load_arrays(big, max_bytes=4000)
    with pytest.raises(FileNotFoundError):
        files.load_arrays(tmp_path / "none.npz")


def test_a_file_without_hash_or_of_another_format_is_not_taken_for_ours(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors({"a": entry(0, 8)}, BODY))
    assert files.load_arrays(path)[0]["a"].tolist() == [0, 0]
    with pytest.raises(files.FileError, match="has no hash"):
        files.load_arrays(path, signed=True)
    newer = {"jrnn.format": "2"}
    newer["jrnn.sha256"] = files.digest({}, newer)
    path.write_bytes(safetensors({"__metadata__": newer}))
    with pytest.raises(files.FileError, match="format must be 1, got 2"):
        files.load_arrays(path)
