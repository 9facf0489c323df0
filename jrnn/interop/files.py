"""Weight files: written whole or not at all, read without trust.

    save_arrays, load_arrays     named arrays and text, in .safetensors or .npz
    flatten, unflatten           between trees and named arrays
    save, load                   the parameters of a model, with their configuration

What jrnn writes carries a hash of everything it holds, which is verified before any
array is used: of the common formats only .npz would notice a flipped bit by itself.
What others wrote is read with limits on all that it claims; no pickle is ever run.
"""

import contextlib
import hashlib
import json
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jrnn.interop import formats, pickled
from jrnn.interop.disk import (
    MAX_BYTES,
    Path,
    read_regular as read_regular,
    write_whole as write_whole,
)
from jrnn.interop.formats import FileError as FileError, require
from jrnn.interop.trees import flatten as flatten, unflatten as unflatten
from jrnn.types import Params

_OWN = "jrnn."  # begins the names of what jrnn itself adds to the metadata
_VERSION = "jrnn.format"
_HASH = "jrnn.sha256"
_CONFIG = "jrnn.config"


def save_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes named arrays and text to a `.safetensors` or `.npz` file.

    The file appears under its name only when it is complete and on the disk; an older
    file of that name stays until then. It carries a hash of all its content.

    Args:
      path: Where to write.
      arrays: Arrays by name.
      metadata: Text by name.

    Raises:
      FileError: if a name, a dtype or the suffix is not one that can be read back.

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
    require(suffix in _WRITERS, f"{path}: the suffix is not one of {[*_WRITERS]}.")
    own = {name: np.asarray(array) for name, array in arrays.items()}
    texts = {str(name): str(text) for name, text in (metadata or {}).items()}
    with blame(path):
        formats.check_arrays(own)
        texts[_VERSION] = "1"
        texts[_HASH] = digest(own, texts)
        data = _WRITERS[suffix](own, texts)
    write_whole(path, data)


def load_arrays(
    path: Path, *, signed: bool = False, max_bytes: int = MAX_BYTES
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a `.safetensors`, `.npz` or `.pt` file that may be damaged or hostile.

    Refused are: what is no regular file; sizes over the limit, or claimed and not
    there; archives that expand a hundredfold; more than 8 axes; dtypes other than
    float16, bfloat16, float32, float64, int32, int64, uint32 and bool; tensors that
    overlap, repeat or leave gaps; names that could be paths; Python objects; and, in a
    file that carries jrnn's hash, anything that does not match it.

    A `.pt` file must be a dictionary of tensors and needs PyTorch 2.10: earlier
    versions run code that a file can hide even from `weights_only=True`.

    Args:
      path: What to read.
      signed: Whether to refuse a file without jrnn's hash: True for one's own.
      max_bytes: The largest size, of the file and of its arrays.

    Returns:
      The arrays by name, read-only, and the metadata.

    Raises:
      FileError: if anything is not as it must be.
      OSError: if there is no such file, or it cannot be read.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    require(suffix in _READERS, f"{path}: the suffix is not one of {[*_READERS]}.")
    data = read_regular(path, max_bytes)
    with blame(path):
        arrays, metadata = _READERS[suffix](data, max_bytes)
        _verify(arrays, metadata, signed)
    broken = [name for name, array in arrays.items() if not _finite(array)]
    if broken:
        warnings.warn(f"{path}: NaN or infinity in {broken[:5]}.", stacklevel=2)
    return arrays, metadata


def save(path: Path, params: Params, config: Mapping[str, Any] | None = None) -> None:
    """Writes parameters, and a configuration of plain values, to one file.

    Args:
      path: Where to write, `.safetensors` or `.npz`.
      params: A tree of arrays.
      config: What is needed to build the model again; anything that JSON can hold.

    Example:
      >>> import tempfile, jax, jrnn
      >>> folder = tempfile.TemporaryDirectory()
      >>> path = f"{folder.name}/model.safetensors"
      >>> cell = jrnn.GRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> save(path, params, {"hidden_size": 4})
      >>> again, config = load(path, params)
      >>> config, bool((again.w_h == params.w_h).all())
      ({'hidden_size': 4}, True)
      >>> folder.cleanup()
    """
    text = json.dumps(dict(config or {}), sort_keys=True, allow_nan=False)
    save_arrays(path, flatten(params), {_CONFIG: text})


def load(
    path: Path, template: Params, *, cast: bool = False, max_bytes: int = MAX_BYTES
) -> tuple[Params, dict[str, Any]]:
    """Reads what `save` wrote, into a tree like `template`.

    Args:
      path: What to read.
      template: A tree of arrays, or of shapes: `jax.eval_shape(model.init, ...)`.
      cast: Whether to convert to the dtypes of the template, if they differ.
      max_bytes: The largest size, of the file and of its arrays.

    Returns:
      The parameters and the configuration.

    Raises:
      FileError: if the file is damaged, was not written by jrnn, or does not fit.
    """
    arrays, metadata = load_arrays(path, signed=True, max_bytes=max_bytes)
    with blame(path):
        config = json.loads(metadata.get(_CONFIG, "{}"))
        return unflatten(template, arrays, cast=cast), config


def digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """Returns the sha256 of named arrays and text, whatever file they are in."""
    names = sorted(arrays)
    outline = [[n, str(arrays[n].dtype), list(arrays[n].shape)] for n in names]
    sha = hashlib.sha256(json.dumps([outline, sorted(metadata.items())]).encode())
    for name in names:
        sha.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def _verify(arrays: formats.Arrays, metadata: formats.Metadata, signed: bool) -> None:
    """Compares the content with its hash, and takes what jrnn added from the metadata.

    Any trace of jrnn asks for the hash, so that damage to its name does not hide it.
    """
    written = metadata.pop(_HASH, None)
    if written is None and not any(name.startswith(_OWN) for name in metadata):
        require(not signed, "it carries no hash: jrnn did not write it.")
        return
    require(
        written == digest(arrays, metadata),
        "its content does not match its hash: it is damaged. Use another copy.",
    )
    version = metadata.pop(_VERSION, None)
    require(version == "1", f"its format is {version}, this jrnn reads format 1.")


@contextlib.contextmanager
def blame(path: Path) -> Iterator[None]:
    """Turns whatever a parser stumbles over into one error that names the file."""
    try:
        yield
    except FileError as error:
        raise FileError(f"{path}: {error}") from None
    except Exception as error:
        raise FileError(f"{path}: cannot be parsed: {error!r:.200}") from error


def _finite(array: np.ndarray) -> bool:
    # Kinds: f is floating; V is what bfloat16 says it is.
    return array.dtype.kind not in "fV" or bool(np.all(np.isfinite(array)))


_READERS = {
    ".safetensors": formats.parse_safetensors,
    ".npz": formats.parse_npz,
    ".pt": pickled.parse_pt,
    ".pth": pickled.parse_pt,
}
_WRITERS = {
    ".safetensors": formats.format_safetensors,
    ".npz": formats.format_npz,
}
