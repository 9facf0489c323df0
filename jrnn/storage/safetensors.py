"""The `.safetensors` format: a JSON header, then the bytes of all tensors."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jrnn.storage.formats import (
    CODES,
    DTYPES,
    METADATA,
    Arrays,
    Metadata,
    Piece,
    check_arrays,
    check_count,
    check_metadata,
    check_name,
    parse_json,
    read_view,
    require,
)

MAX_HEADER = 8 << 20  # bytes, about a hundred per tensor


class Entry(NamedTuple):
    """A tensor of a header. Its bytes are counted from the end of the header."""

    name: str
    dtype: np.dtype
    shape: list[int]
    begin: int
    end: int


def parse(data: bytes, limit: int) -> tuple[Arrays, Metadata]:
    """Reads the bytes of a file. The arrays are read-only views of them."""
    del limit  # nothing expands, so the bytes themselves are the limit
    entries, metadata, start = parse_header(data, len(data))
    body = memoryview(data)[start:]
    arrays = {
        entry.name: read_view(
            entry.name, body[entry.begin : entry.end], entry.dtype, entry.shape
        )
        for entry in entries
    }
    check_arrays(arrays)
    return arrays, metadata


def header_size(data: bytes, total: int) -> int:
    """Returns the size that the first eight bytes of a file say its header has."""
    require(len(data) >= 8, "it must have a header, but is shorter than 8 bytes.")
    size = int.from_bytes(data[:8], "little")
    largest = min(MAX_HEADER, total - 8)
    require(
        2 <= size <= largest,
        f"its header must have 2 to {largest} bytes, got {size}.",
    )
    return size


def parse_header(data: bytes, total: int) -> tuple[list[Entry], Metadata, int]:
    """Reads the header of a file.

    Args:
      data: The first bytes of the file, its header included.
      total: The size of the whole file in bytes.

    Returns:
      The tensors in the order of their bytes, the metadata, and where in the file the
      bytes of the tensors begin.
    """
    size = header_size(data, total)
    header = parse_json(data[8 : 8 + size])
    metadata = check_metadata(header.pop(METADATA, {}))
    check_count(len(header), "tensors")
    entries = sorted((_entry(name, entry) for name, entry in header.items()), key=_span)
    body, expected = total - 8 - size, 0
    for name, _, _, begin, end in entries:
        require(
            begin == expected,
            f"{name} must begin at byte {expected}, got {begin}: tensors overlap or "
            "leave a gap.",
        )
        require(end <= body, f"{name} must end within {body} bytes, got byte {end}.")
        expected = end
    require(expected == body, f"{body - expected} bytes belong to no tensor.")
    return entries, metadata, 8 + size


def encode(arrays: Mapping[str, np.ndarray], metadata: Metadata) -> list[Piece]:
    """Returns the bytes of a file in pieces, without a copy of contiguous arrays.

    Equal arrays and metadata give equal bytes.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    tensors: list[memoryview] = []
    offset = 0
    for name, array in sorted(arrays.items(), key=lambda item: item[0]):
        tensor = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        header[name] = {
            "dtype": CODES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(tensor)],
        }
        tensors.append(tensor)
        offset += len(tensor)
    return [encode_header(header), *tensors]


def encode_header(header: Mapping[str, Any]) -> bytes:
    """Returns the first bytes of a file, up to its tensors."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # aligns the tensors in memory
    require(
        len(text) <= MAX_HEADER,
        f"the header must have at most {MAX_HEADER} bytes, got {len(text)}. Use "
        "shorter names.",
    )
    return len(text).to_bytes(8, "little") + text


def _entry(name: str, entry: Any) -> Entry:
    """Checks an entry of the header."""
    check_name(name)
    keys = {"dtype", "shape", "data_offsets"}
    require(
        isinstance(entry, dict) and set(entry) == keys,
        f"{name} must have the keys {sorted(keys)}.",
    )
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    require(
        isinstance(code, str) and code in DTYPES,
        f"{name} must have one of the dtypes {', '.join(DTYPES)}, got "
        f"{str(code)[:16]!r}.",
    )
    for integers in (shape, offsets):
        plain = isinstance(integers, list) and all(type(n) is int for n in integers)
        require(plain, f"{name} must have a shape and offsets that are integers.")
    require(
        len(offsets) == 2 and 0 <= offsets[0] <= offsets[1],
        f"{name} must have two offsets in order, got {offsets[:4]}.",
    )
    return Entry(name, DTYPES[code], shape, offsets[0], offsets[1])


def _span(entry: Entry) -> tuple[int, int]:
    return entry.begin, entry.end
