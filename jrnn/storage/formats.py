"""What all file formats have in common: names, dtypes, limits and checks.

The parsers of each format work on bytes in memory. They check every size that a file
claims before they allocate memory for it.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

Arrays = dict[str, np.ndarray]
Metadata = dict[str, str]
Piece = bytes | memoryview  # of a file

DTYPES = {
    "F16": np.dtype("float16"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype("float32"),
    "F64": np.dtype("float64"),
    "I8": np.dtype("int8"),
    "I16": np.dtype("int16"),
    "I32": np.dtype("int32"),
    "I64": np.dtype("int64"),
    "U8": np.dtype("uint8"),
    "U16": np.dtype("uint16"),
    "U32": np.dtype("uint32"),
    "U64": np.dtype("uint64"),
    "BOOL": np.dtype("bool"),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
_DTYPE_NAMES = ", ".join(map(str, CODES))

MAX_NDIM = 8
MAX_TENSORS = 65536
MAX_KEYS = 5 * MAX_TENSORS  # of JSON: a name and three keys per tensor
MAX_VALUES = 16 * MAX_TENSORS  # of JSON, lists and objects included
METADATA = "__metadata__"
_NAME = re.compile(r"[^\x00-\x1f\x7f\\]{1,256}")


class FileError(ValueError):
    """A file of weights or tokens is damaged, malicious, or not what is expected."""


def require(truth: Any, message: str) -> None:
    """Raises a `FileError` unless `truth`."""
    if not truth:
        raise FileError(message)


def check_count(number: int, what: str) -> None:
    """Raises if a file holds too many tensors."""
    require(
        number <= MAX_TENSORS, f"it must hold at most {MAX_TENSORS} {what}, got more."
    )


def check_name(name: Any) -> None:
    """Raises unless a tensor's name is plain text and not a path out of a folder."""
    require(isinstance(name, str), f"a tensor's name must be text, got {name!r}.")
    folders = name.split("/")
    plain = _NAME.fullmatch(name) and name != METADATA and ":" not in folders[0]
    climbs = name.startswith("/") or ".." in folders
    require(
        plain and not climbs,
        f"the name {name[:80]!r} is not allowed. A name must be 1 to 256 printable "
        "characters without backslashes, and not an absolute path or one with '..'.",
    )


def check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises unless a file may hold arrays with these names, dtypes and ranks."""
    check_count(len(arrays), "tensors")
    for name, array in arrays.items():
        check_name(name)
        require(
            array.dtype in CODES,
            f"{name} must have one of the dtypes {_DTYPE_NAMES}, got {array.dtype}.",
        )
        require(
            array.ndim <= MAX_NDIM,
            f"{name} must have at most {MAX_NDIM} axes, got {array.ndim}.",
        )


def read_view(name: str, data: memoryview, dtype: np.dtype, shape: Any) -> np.ndarray:
    """Returns bytes as an array, without a copy.

    Raises:
      FileError: if the shape is not allowed, or needs more or fewer bytes.
    """
    require(
        len(shape) <= MAX_NDIM and all(n >= 0 for n in shape),
        f"{name} must have at most {MAX_NDIM} axes of sizes from 0, got the shape "
        f"{list(shape)[:16]}.",
    )
    needed = math.prod(shape) * dtype.itemsize  # Python integers do not overflow
    require(
        needed == len(data),
        f"{name} {list(shape)} of {dtype} must have {needed} bytes, got {len(data)}.",
    )
    if dtype.kind == "b":
        flags = np.frombuffer(data, np.uint8)
        require(
            np.all(flags <= 1),
            f"{name} is bool, so its bytes must be 0 or 1, got {flags.max()}.",
        )
    return np.frombuffer(data, dtype).reshape(shape)


def parse_json(text: bytes) -> dict[str, Any]:
    """Parses a JSON object. Raises if a key appears twice."""
    # Counted before it is parsed, because each value costs more memory than its text.
    for mark, most in ((b":", MAX_KEYS), (b",", MAX_VALUES)):
        number = text.count(mark)
        require(
            number <= most,
            f"JSON must have at most {most} {mark.decode()!r}, got {number}.",
        )

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        require(len(set(keys)) == len(keys), "a name appears twice in its header.")
        return dict(pairs)

    parsed = json.loads(text.decode("utf-8"), object_pairs_hook=distinct)
    require(isinstance(parsed, dict), "its header must be a JSON object.")
    return parsed


def check_metadata(entries: Any) -> Metadata:
    """Returns the metadata of a file. Raises unless it maps text to text."""
    plain = isinstance(entries, dict) and all(
        isinstance(value, str) for value in entries.values()
    )
    require(plain, "its metadata must map text to text.")
    return entries
