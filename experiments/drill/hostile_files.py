"""Weight files made to do harm, by name. None of them may be loaded."""

import io
import json
import os
import pickle
import struct
import zipfile
from typing import Any

import numpy as np


def safetensors(header: Any, body: bytes = b"", size: int | None = None) -> bytes:
    """Returns the bytes of a file with this header, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if size is None else size
    return struct.pack("<Q", size) + text + body


def entry(begin: int, end: int, shape: Any = None, dtype: Any = "F32") -> dict:
    """Returns the entry of a tensor in the header of a .safetensors file."""
    shape = [(end - begin) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def npy(array: Any) -> bytes:
    """Returns the bytes of a .npy file, objects included."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=True)
    return stream.getvalue()


def npy_header(shape: Any, descr: str = "'<f4'", version: int = 1) -> bytes:
    """Returns the first bytes of a .npy file that claims this shape."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H", len(text))
        + text.encode()
    )


def archive(members: Any, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Returns the bytes of a zip archive of names and contents."""
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
    "tiny_entries.safetensors": safetensors(
        b"{" + b",".join(b'"%d":0' % i for i in range(780000)) + b"}"
    ),
    "many_lists.safetensors": safetensors(
        b'{"a":[' + b",".join([b"[]"] * 2790000) + b"]}"
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
