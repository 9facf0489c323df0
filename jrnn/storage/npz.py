"""The `.npz` format: a zip archive with one `.npy` member per array."""

import io
import json
import zipfile
from collections.abc import Mapping

import numpy as np

from jrnn.storage.formats import (
    CODES,
    DTYPES,
    METADATA,
    Arrays,
    Metadata,
    Piece,
    check_arrays,
    check_metadata,
    parse_json,
    read_view,
    require,
)
from jrnn.storage.zips import check_gapless, open_archive, read_member

_VERSION_ONE = (1, 0)


def parse(data: bytes, limit: int) -> tuple[Arrays, Metadata]:
    """Reads the bytes of a file. It never runs a pickle."""
    arrays: Arrays = {}
    metadata: Metadata = {}
    with open_archive(data, limit) as archive:
        members = archive.infolist()
        check_gapless(data, members)
        for member in members:
            content = read_member(archive, member)
            if member.filename == f"{METADATA}.json":
                metadata = check_metadata(parse_json(content))
                continue
            name = member.filename.removesuffix(".npy")
            require(
                name != member.filename,
                f"its members must be .npy files, got {name[:80]!r}.",
            )
            arrays[name] = _parse_npy(name, content)
    check_arrays(arrays)
    return arrays, metadata


def encode(arrays: Mapping[str, np.ndarray], metadata: Metadata) -> list[Piece]:
    """Returns the bytes of an uncompressed file. Equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in sorted(arrays.items(), key=lambda item: item[0]):
            require(
                array.dtype != DTYPES["BF16"],
                f"{name} is bfloat16, which .npz cannot hold. Use .safetensors.",
            )
            member = io.BytesIO()
            np.lib.format.write_array(member, array, _VERSION_ONE, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
        if metadata:
            text = json.dumps(metadata)
            archive.writestr(zipfile.ZipInfo(f"{METADATA}.json"), text)
    return [buffer.getvalue()]


def _parse_npy(name: str, content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    require(
        version in [(1, 0), (2, 0)],
        f"{name} must have the .npy version 1.0 or 2.0, got {version}.",
    )
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read(stream)
    native = dtype.newbyteorder("=")
    require(
        native in CODES,
        f"{name} must have one of the dtypes {', '.join(map(str, CODES))}, got "
        f"{dtype}.",
    )
    shape = tuple(int(n) for n in shape)
    order = shape[::-1] if fortran else shape
    array = read_view(name, memoryview(content)[stream.tell() :], dtype, order)
    return (array.T if fortran else array).astype(native, copy=False)
