"""Weight formats as bytes in memory: parsed without trust, written without surprise.

Nothing here touches a disk, and nothing allocates what a file only claims to hold. The
files of `jrnn.interop.files` go through here; use that.
"""

import io
import json
import math
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

Arrays = dict[str, np.ndarray]
Metadata = dict[str, str]

DTYPES = {
    "F16": np.dtype("float16"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype("float32"),
    "F64": np.dtype("float64"),
    "I32": np.dtype("int32"),
    "I64": np.dtype("int64"),
    "U32": np.dtype("uint32"),
    "BOOL": np.dtype("bool"),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}

MAX_NDIM = 8
MAX_TENSORS = 65536
MAX_HEADER = 8 << 20  # bytes: a hundred per tensor
MAX_RATIO = 100  # how far a member of an archive may expand ...
RATIO_FLOOR = 16 << 20  # ... once it is larger than this
_METADATA = "__metadata__"
_NAME = re.compile(r"[^\x00-\x1f\x7f\\]{1,256}")
_VERSION_ONE = (1, 0)


class FileError(ValueError):
    """A weight file that is damaged, hostile, or not what was asked for."""


def require(truth: Any, message: str) -> None:
    """Raises a `FileError` unless `truth`."""
    if not truth:
        raise FileError(message)


def check_name(name: Any) -> None:
    """Raises unless a tensor's name is plain text that could never climb a folder."""
    require(isinstance(name, str), f"a tensor's name is {name!r}, not text.")
    parts = name.split("/")
    plain = _NAME.fullmatch(name) and name != _METADATA and ":" not in parts[0]
    climbs = name.startswith("/") or ".." in parts
    require(
        plain and not climbs,
        f"the name {name[:80]!r} is refused: names are 1 to 256 printable characters "
        "with no backslash, and no path that is absolute or climbs.",
    )


def check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises unless all names, dtypes and ranks are ones that a file may hold."""
    require(len(arrays) <= MAX_TENSORS, f"it holds more than {MAX_TENSORS} tensors.")
    for name, array in arrays.items():
        check_name(name)
        require(
            array.dtype in _CODES,
            f"{name} is {array.dtype}; only {', '.join(map(str, _CODES))} are allowed.",
        )
        require(
            array.ndim <= MAX_NDIM,
            f"{name} has {array.ndim} axes; at most {MAX_NDIM} are allowed.",
        )


def parse_safetensors(data: bytes, limit: int) -> tuple[Arrays, Metadata]:
    """Reads the bytes of a `.safetensors` file; arrays are read-only views of them."""
    del limit  # the bytes are all there is: nothing expands
    require(len(data) >= 8, "it is too short to hold a header.")
    size = int.from_bytes(data[:8], "little")
    require(
        2 <= size <= min(MAX_HEADER, len(data) - 8),
        f"its header claims {size} bytes; the file has {len(data)} and a header may "
        f"have {MAX_HEADER}.",
    )
    header = _json(data[8 : 8 + size])
    metadata = _metadata(header.pop(_METADATA, {}))
    body = memoryview(data)[8 + size :]
    require(len(header) <= MAX_TENSORS, f"it holds more than {MAX_TENSORS} tensors.")
    entries = sorted((_entry(name, entry) for name, entry in header.items()), key=_span)
    arrays, expected = {}, 0
    for name, dtype, shape, begin, end in entries:
        require(
            begin == expected,
            f"{name} begins at byte {begin}, where {expected} is due: tensors overlap "
            "or leave a gap.",
        )
        require(
            end <= len(body), f"{name} ends at byte {end}, but there are {len(body)}."
        )
        arrays[name] = _view(name, body[begin:end], dtype, shape)
        expected = end
    require(expected == len(body), f"{len(body) - expected} bytes belong to no tensor.")
    check_arrays(arrays)
    return arrays, metadata


def format_safetensors(arrays: Mapping[str, np.ndarray], metadata: Metadata) -> bytes:
    """Returns the bytes of a `.safetensors` file."""
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    parts, offset = [], 0
    for name, array in sorted(arrays.items(), key=lambda item: item[0]):
        part = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": _CODES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(part)],
        }
        parts.append(part)
        offset += len(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that tensors are aligned in memory
    require(len(text) <= MAX_HEADER, f"the header would exceed {MAX_HEADER} bytes.")
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def parse_npz(data: bytes, limit: int) -> tuple[Arrays, Metadata]:
    """Reads the bytes of a `.npz` file, member by member, never a pickle."""
    arrays: Arrays = {}
    metadata: Metadata = {}
    with open_archive(data, limit) as archive:
        members = archive.infolist()
        _check_gapless(data, members)
        for member in members:
            content = _read_member(archive, member)
            if member.filename == f"{_METADATA}.json":
                metadata = _metadata(_json(content))
                continue
            name = member.filename.removesuffix(".npy")
            require(name != member.filename, f"{name[:80]!r} is no .npy member.")
            arrays[name] = _parse_npy(name, content)
    check_arrays(arrays)
    return arrays, metadata


def format_npz(arrays: Mapping[str, np.ndarray], metadata: Metadata) -> bytes:
    """Returns the bytes of an uncompressed `.npz` file; equal arrays, equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in sorted(arrays.items(), key=lambda item: item[0]):
            require(
                array.dtype != DTYPES["BF16"],
                f"{name} is bfloat16, which .npz cannot hold; use .safetensors.",
            )
            member = io.BytesIO()
            np.lib.format.write_array(member, array, _VERSION_ONE, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
        if metadata:
            text = json.dumps(metadata)
            archive.writestr(zipfile.ZipInfo(f"{_METADATA}.json"), text)
    return buffer.getvalue()


def open_archive(data: bytes, limit: int) -> zipfile.ZipFile:
    """Opens a zip archive whose members are few, small, plain, apart and distinct."""
    # Counted before the directory is parsed, as each entry costs memory.
    found = data.count(b"PK\x01\x02")
    require(found <= MAX_TENSORS + 1, f"it holds more than {MAX_TENSORS} members.")
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = archive.infolist()
    end = total = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        name, size, packed = member.filename, member.file_size, member.compress_size
        total += size
        require(
            size <= RATIO_FLOOR or size <= MAX_RATIO * packed,
            f"{name[:80]!r} would expand {packed} bytes to {size}.",
        )
        require(total <= limit, f"it would expand to more than {limit} bytes.")
        require(
            member.header_offset >= end, f"{name[:80]!r} overlaps the member before."
        )
        require(not member.flag_bits & 1, f"{name[:80]!r} is encrypted.")
        end = member.header_offset + 30 + len(name.encode()) + packed
    names = {member.filename for member in members}
    require(len(names) == len(members), "it holds two members of one name.")
    return archive


def _check_gapless(data: bytes, members: list[zipfile.ZipInfo]) -> None:
    """Raises unless the members fill the archive: a damaged directory may omit some."""
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        require(member.header_offset == end, "its directory leaves out a member.")
        name = int.from_bytes(data[end + 26 : end + 28], "little")
        extra = int.from_bytes(data[end + 28 : end + 30], "little")
        end += 30 + name + extra + member.compress_size
    directory = b"PK\x01\x02" if members else b"PK\x05\x06"
    require(data[end : end + 4] == directory, "its directory leaves out a member.")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as stream:
        content = stream.read(member.file_size + 1)
    require(
        len(content) == member.file_size,
        f"{member.filename[:80]!r} holds {len(content)} bytes, not the "
        f"{member.file_size} it claims.",
    )
    return content


def _parse_npy(name: str, content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    require(version in [(1, 0), (2, 0)], f"{name} has the .npy version {version}.")
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read(stream)
    native = dtype.newbyteorder("=")
    require(native in _CODES, f"{name} is {dtype}, which no weight file may hold.")
    shape = tuple(int(n) for n in shape)
    order = shape[::-1] if fortran else shape
    array = _view(name, memoryview(content)[stream.tell() :], dtype, order)
    return (array.T if fortran else array).astype(native, copy=False)


def _view(name: str, part: memoryview, dtype: np.dtype, shape: Any) -> np.ndarray:
    """Reads bytes as an array after checking that they are as many as it needs."""
    require(
        len(shape) <= MAX_NDIM and all(n >= 0 for n in shape),
        f"{name} has the shape {list(shape)[:16]}; at most {MAX_NDIM} axes of sizes "
        "from 0 are allowed.",
    )
    needed = math.prod(shape) * dtype.itemsize  # Python integers: no overflow
    require(
        needed == len(part),
        f"{name} {list(shape)} of {dtype} needs {needed} bytes and has {len(part)}.",
    )
    if dtype.kind == "b":
        flags = np.frombuffer(part, np.uint8)
        require(np.all(flags <= 1), f"{name} is bool, but not all bytes are 0 or 1.")
    return np.frombuffer(part, dtype).reshape(shape)


def _entry(name: str, entry: Any) -> tuple[str, np.dtype, list[int], int, int]:
    """Checks an entry of the header of a `.safetensors` file."""
    check_name(name)
    keys = {"dtype", "shape", "data_offsets"}
    require(isinstance(entry, dict) and set(entry) == keys, f"{name} lacks {keys}.")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    require(
        isinstance(code, str) and code in DTYPES,
        f"{name} has dtype {str(code)[:16]!r}; only {', '.join(DTYPES)} are allowed.",
    )
    for numbers in (shape, offsets):
        plain = isinstance(numbers, list) and all(type(n) is int for n in numbers)
        require(plain, f"{name} has a shape or offsets that are no lists of integers.")
    require(
        len(offsets) == 2 and 0 <= offsets[0] <= offsets[1],
        f"{name} has the offsets {offsets[:4]}.",
    )
    return name, DTYPES[code], shape, offsets[0], offsets[1]


def _span(entry: tuple[str, np.dtype, list[int], int, int]) -> tuple[int, int]:
    return entry[3], entry[4]


def _json(text: bytes) -> dict[str, Any]:
    """Parses a JSON object, refusing keys that appear twice."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        require(len(set(keys)) == len(keys), "a name appears twice in its header.")
        return dict(pairs)

    parsed = json.loads(text.decode("utf-8"), object_pairs_hook=distinct)
    require(isinstance(parsed, dict), "its header is no JSON object.")
    return parsed


def _metadata(entries: Any) -> Metadata:
    plain = isinstance(entries, dict) and all(
        isinstance(value, str) for value in entries.values()
    )
    require(plain, "its metadata must map text to text.")
    return entries
