"""The `.safetensors` format: a JSON header, then the bytes of all tensors."""

import json
from collections.abc import Mapping
from typing import Any

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


def parse(data: bytes, limit: int) -> tuple[Arrays, Metadata]:
    """Reads the bytes of a file. The arrays are read-only views of them."""
    del limit  # nothing expands, so the bytes themselves are the limit
    require(len(data) >= 8, "it must have a header, but is shorter than 8 bytes.")
    size = int.from_bytes(data[:8], "little")
    largest = min(MAX_HEADER, len(data) - 8)
    require(
        2 <= size <= largest,
        f"its header must have 2 to {largest} bytes, got {size}.",
    )
    header = parse_json(data[8 : 8 + size])
    metadata = check_metadata(header.pop(METADATA, {}))
    body = memoryview(data)[8 + size :]
    check_count(len(header), "tensors")
    entries = sorted((_entry(name, entry) for name, entry in header.items()), key=_span)
    arrays, expected = {}, 0
    for name, dtype, shape, begin, end in entries:
        require(
            begin == expected,
            f"{name} must begin at byte {expected}, got {begin}: tensors overlap or "
            "leave a gap.",
        )
        require(
            end <= len(body),
            f"{name} must end within {len(body)} bytes, got byte {end}.",
        )
        arrays[name] = read_view(name, body[begin:end], dtype, shape)
        expected = end
    require(expected == len(body), f"{len(body) - expected} bytes belong to no tensor.")
    check_arrays(arrays)
    return arrays, metadata


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
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # aligns the tensors in memory
    require(
        len(text) <= MAX_HEADER,
        f"the header must have at most {MAX_HEADER} bytes, got {len(text)}. Use "
        "shorter names.",
    )
    return [len(text).to_bytes(8, "little"), text, *tensors]


def _entry(name: str, entry: Any) -> tuple[str, np.dtype, list[int], int, int]:
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
    return name, DTYPES[code], shape, offsets[0], offsets[1]


def _span(entry: tuple[str, np.dtype, list[int], int, int]) -> tuple[int, int]:
    return entry[3], entry[4]
