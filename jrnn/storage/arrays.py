"""Files of named arrays and text, with a hash of their content."""

import contextlib
import hashlib
import json
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jrnn.storage import hdf5, npz, pickled, safetensors
from jrnn.storage.disk import MAX_BYTES, Path, read_regular, write_whole
from jrnn.storage.formats import (
    Arrays,
    FileError,
    Metadata,
    check_arrays,
    require,
)

_PREFIX = "jrnn."  # of all names that jrnn adds to the metadata
_VERSION = "jrnn.format"
_HASH = "jrnn.sha256"

_READERS = {
    ".safetensors": safetensors.parse,
    ".npz": npz.parse,
    ".pt": pickled.parse,
    ".pth": pickled.parse,
    ".h5": hdf5.parse,
    ".hdf5": hdf5.parse,
    ".keras": hdf5.parse_keras,
}
_WRITERS = {".safetensors": safetensors.encode, ".npz": npz.encode}


def save_arrays(
    path: Path,
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes named arrays and text to a `.safetensors` or `.npz` file.

    The file replaces an older file of the same name only when it is complete and on
    disk. It contains a hash of its whole content.

    Args:
      path: The file to write.
      arrays: Arrays by name.
      metadata: Text by name.

    Raises:
      FileError: if `load_arrays` could not read a name, a dtype or the suffix.

    Example:
      >>> import tempfile, numpy as np
      >>> folder = tempfile.TemporaryDirectory()
      >>> path = f"{folder.name}/weights.safetensors"
      >>> save_arrays(path, {"w": np.arange(3.0)}, {"step": "12"})
      >>> arrays, metadata = load_arrays(path)
      >>> arrays["w"].tolist(), metadata["step"]
      ([0.0, 1.0, 2.0], '12')
      >>> folder.cleanup()
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    require(
        suffix in _WRITERS,
        f"{path}: the suffix must be one of {[*_WRITERS]}, got {suffix!r}.",
    )
    own = {name: np.asarray(array) for name, array in arrays.items()}
    texts = {str(name): str(text) for name, text in (metadata or {}).items()}
    with errors_name(path):
        check_arrays(own)
        texts[_VERSION] = "1"
        texts[_HASH] = digest(own, texts)
        data = _WRITERS[suffix](own, texts)
    write_whole(path, data)


def load_arrays(
    path: Path, *, signed: bool = False, max_bytes: int = MAX_BYTES
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a file of named arrays that may be damaged or malicious.

    The suffix is `.safetensors` or `.npz`, `.pt` of PyTorch, or `.h5` or `.keras` of
    Keras, whose configuration is part of the metadata, as text.

    It raises an error for files that are not regular; sizes over the limit, and sizes
    that differ from the size of the data; archives that expand more than a hundredfold;
    more than 8 axes; dtypes other than floating-point numbers of 16 to 64 bits,
    integers and bool; tensors that overlap, repeat or leave gaps; names that could be
    paths; Python objects; and content that does not match jrnn's hash, if the file has
    one.

    A `.pt` file must be a dictionary of tensors and needs PyTorch 2.10. Earlier
    versions can run code from a file even with `weights_only=True`. The files of Keras
    need h5py, and must not refer to other files, to plugins or to an object twice.

    Args:
      path: The file to read.
      signed: Whether a file without jrnn's hash is an error. Use True for your own
        files.
      max_bytes: The largest size, of the file and of its arrays.

    Returns:
      The arrays by name, read-only, and the metadata.

    Raises:
      FileError: if the file is damaged or not allowed.
      OSError: if the file does not exist or cannot be read.

    Example:
      >>> import tempfile
      >>> folder = tempfile.TemporaryDirectory()
      >>> save_arrays(f"{folder.name}/a.npz", {"w": np.ones(3)}, {"note": "ones"})
      >>> arrays, metadata = load_arrays(f"{folder.name}/a.npz", signed=True)
      >>> arrays["w"].tolist(), metadata["note"]
      ([1.0, 1.0, 1.0], 'ones')
      >>> folder.cleanup()
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    require(
        suffix in _READERS,
        f"{path}: the suffix must be one of {[*_READERS]}, got {suffix!r}.",
    )
    data = read_regular(path, max_bytes)
    with errors_name(path):
        arrays, metadata = _READERS[suffix](data, max_bytes)
        _verify(arrays, metadata, signed)
    broken = [name for name, array in arrays.items() if not _finite(array)]
    if broken:
        warnings.warn(f"{path}: NaN or infinity in {broken[:5]}.", stacklevel=2)
    return arrays, metadata


def digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """Returns the sha256 of named arrays and text, which is the same in all formats.

    Example:
      >>> len(digest({"w": np.ones(3)}, {"note": "ones"}))  # hexadecimal digits
      64
    """
    names = sorted(arrays)
    outline = [[n, str(arrays[n].dtype), list(arrays[n].shape)] for n in names]
    sha = hashlib.sha256(json.dumps([outline, sorted(metadata.items())]).encode())
    for name in names:
        sha.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


@contextlib.contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Turns every error of a parser into a `FileError` that names the file."""
    try:
        yield
    except FileError as error:
        raise FileError(f"{path}: {error}") from None
    except Exception as error:
        raise FileError(f"{path}: cannot be parsed: {error!r:.200}") from error


def _verify(arrays: Arrays, metadata: Metadata, signed: bool) -> None:
    """Compares the content with its hash, and removes jrnn's names from the metadata.

    Any name of jrnn requires the hash, so damage to the hash's own name is detected.
    """
    written = metadata.pop(_HASH, None)
    if written is None and not any(name.startswith(_PREFIX) for name in metadata):
        require(
            not signed,
            "it has no hash, so jrnn did not write it. Use `load_arrays` without "
            "`signed=True` if you trust it.",
        )
        return
    require(
        written == digest(arrays, metadata),
        "its content does not match its hash, so it is damaged. Use another copy.",
    )
    version = metadata.pop(_VERSION, None)
    require(
        version == "1",
        f"its format must be 1, got {version}. Read it with the version of jrnn that "
        "wrote it.",
    )


def _finite(array: np.ndarray) -> bool:
    # Kind f is floating point; bfloat16 has kind V.
    return array.dtype.kind not in "fV" or bool(np.all(np.isfinite(array)))
