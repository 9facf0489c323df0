"""The manifest of a checkpoint: what it contains, and the hash of every file.

    format       version of this layout
    sha256       of the rest of the manifest
    step         number of updates before the checkpoint
    files        name -> [bytes, sha256]
    leaves       name of a leaf -> "float32[3, 12]"
    facts        what must not change when the run is resumed
    environment  versions and devices
    progress     plain values of the training loop

The bytes of a manifest follow from its content, and a manifest with any other bytes is
refused. So is any manifest whose hash is wrong. All versions of the layout keep the
first two entries and the way in which the hash is computed.
"""

import hashlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from jrnn.storage.formats import parse_json

FORMAT = 1
MAX_BYTES = 64 << 20
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PACKAGES = ["jax", "jaxlib", "numpy", "optax", "jrnn"]


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, read or used. The message says why."""


class NewerFormatError(CheckpointError):
    """A checkpoint was written by a later version of jrnn."""


class CheckpointWarning(UserWarning):
    """A checkpoint was skipped, or a run continues with something changed."""


class Manifest(NamedTuple):
    """What a checkpoint contains."""

    step: int
    files: dict[str, list[Any]]  # name -> [bytes, sha256]
    leaves: dict[str, str]  # name -> "float32[3, 12]"
    facts: dict[str, Any]
    environment: dict[str, Any]
    progress: dict[str, Any]


def encode(manifest: Manifest, version: int = FORMAT) -> bytes:
    """Returns the bytes of a manifest."""
    content = manifest._asdict()
    hashed = {"format": version, "sha256": _digest(version, content), **content}
    return (_dump(hashed, indent=1) + "\n").encode()


def decode(data: bytes) -> Manifest:
    """Returns the manifest that these bytes encode.

    Raises:
      NewerFormatError: If a later version of jrnn wrote it.
      CheckpointError: If it is damaged.
    """
    damaged = "manifest.json is damaged: its content does not match its hash"
    try:
        content = parse_json(data)
        version, written = content.pop("format"), content.pop("sha256")
        intact = written == _digest(version, content)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(damaged) from None
    if not intact:
        raise CheckpointError(damaged)
    if version != FORMAT:
        raise NewerFormatError(
            f"it has format {version}, and this version of jrnn reads format {FORMAT}. "
            "Use the version of jrnn that wrote it, or a later one."
        )
    if set(content) != set(Manifest._fields):
        raise CheckpointError(f"manifest.json has the entries {sorted(content)}.")
    manifest = Manifest(**content)
    if encode(manifest) != data:
        raise CheckpointError(damaged)
    _check(manifest)
    return manifest


def plain(name: str, value: Any) -> Any:
    """Returns a value as JSON would return it.

    Raises:
      TypeError: If JSON cannot hold it.
    """
    try:
        return json.loads(_dump(value))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must consist of dictionaries, lists, text, finite numbers, "
            f"booleans and None: {error}. Convert arrays with `.tolist()`, or put them "
            "in the tree."
        ) from None


def environment() -> dict[str, Any]:
    """Returns what equal results bit for bit depend on, besides the program."""
    found = {name: _version(name) for name in _PACKAGES}
    return found | {
        "python": platform.python_version(),
        "backend": jax.default_backend(),
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "x64": bool(jax.config.read("jax_enable_x64")),
    }


def _check(manifest: Manifest) -> None:
    """Raises unless all entries have the expected types and file names are plain."""
    tables = (manifest.files, manifest.leaves, manifest.facts, manifest.environment)
    good = type(manifest.step) is int and manifest.step >= 0
    good &= all(isinstance(each, dict) for each in (*tables, manifest.progress))
    good = good and all(isinstance(text, str) for text in manifest.leaves.values())
    if not good:
        raise CheckpointError("manifest.json has an entry of another type.")
    for name, entry in manifest.files.items():
        described = isinstance(entry, list) and [*map(type, entry)] == [int, str]
        if not described or not _SHA256.fullmatch(entry[1]):
            raise CheckpointError(f"manifest.json describes {name!r:.80} wrongly.")
        if not _FILE.fullmatch(name) or len(name) > 512:
            raise CheckpointError(f"manifest.json has the file name {name!r:.80}.")


def _digest(version: Any, content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_dump([version, content]).encode()).hexdigest()


def _dump(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, sort_keys=False, allow_nan=False, indent=indent)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
