"""Writes a checkpoint to its folder, and reads it after verification."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jrnn.storage import disk, safetensors
from jrnn.storage.formats import FileError, Piece
from jrnn.training.checkpoints import folder as folders, shards
from jrnn.training.checkpoints.leaves import Arrays
from jrnn.training.checkpoints.manifest import (
    MAX_BYTES as MAX_MANIFEST,
    CheckpointError,
    Manifest,
    NewerFormatError,
    decode,
    encode,
)

MANIFEST = "manifest.json"
SUFFIX = ".safetensors"

Contents = dict[str, bytes]  # of files, by name


class Found(NamedTuple):
    """The newest checkpoint that is intact, and why newer ones are not."""

    path: Path
    manifest: Manifest
    contents: Contents
    skipped: dict[int, str]  # step -> reason


def write(folder: Path, manifest: Manifest, parts: dict[str, Arrays]) -> None:
    """Writes a checkpoint. If that fails, nothing of it remains.

    Args:
      folder: The folder of all checkpoints.
      manifest: The manifest, without files.
      parts: The arrays of each file, by the stem of its name.

    Raises:
      CheckpointError: If it cannot be written.
    """
    step = manifest.step
    size = sum(array.nbytes for arrays in parts.values() for array in arrays.values())
    part = None
    try:
        part = folders.new_part(folder, step)
        described = {
            f"{stem}{SUFFIX}": _write_file(
                part / f"{stem}{SUFFIX}", safetensors.encode(arrays, {})
            )
            for stem, arrays in parts.items()
        }
        publish(part, manifest, described)
    except OSError as error:
        older = [each for each in folders.list_steps(folder) if each != step]
        intact = f"That of step {older[-1]} is" if older else "No earlier one is"
        raise CheckpointError(
            f"cannot write the checkpoint {folders.step_path(folder, step)} "
            f"({size} bytes): {error.strerror or error}. {intact} there. Free some "
            "space or repair the disk, then resume."
        ) from error
    finally:
        if part is not None:
            folders.discard(part)


def publish(part: Path, manifest: Manifest, described: dict[str, list]) -> None:
    """Writes the manifest of complete files, and gives the checkpoint its name."""
    data = encode(manifest._replace(files=described))
    disk.write_new(part / MANIFEST, [data])
    folders.publish(part, manifest.step)


def find_newest(
    folder: Path, steps: Iterable[int], wanted: Collection[str] | None, max_bytes: int
) -> Found | None:
    """Returns the newest intact checkpoint, verified and read.

    Args:
      folder: The folder of all checkpoints.
      steps: The steps to consider.
      wanted: Names of the files to keep in memory; None for all.
      max_bytes: The largest size of all files of a checkpoint.

    Returns:
      None if there are no steps.

    Raises:
      NewerFormatError: If a later version of jrnn wrote a checkpoint.
      CheckpointError: If all checkpoints are damaged.
    """
    skipped: dict[int, str] = {}
    for step in sorted(steps, reverse=True):
        path = folders.step_path(folder, step)
        try:
            manifest, contents = read(path, step, wanted, max_bytes)
            return Found(path, manifest, contents, skipped)
        except NewerFormatError as error:
            raise NewerFormatError(f"{path} cannot be read: {error}") from None
        except CheckpointError as error:
            skipped[step] = f"{path} was skipped: {error}"
    if skipped:
        listed = "; ".join(skipped.values())
        raise CheckpointError(f"{folder} has no intact checkpoint: {listed}.")
    return None


def read(
    path: Path, step: int, wanted: Collection[str] | None, max_bytes: int
) -> tuple[Manifest, Contents]:
    """Reads one checkpoint. It verifies every file before it returns any.

    Raises:
      CheckpointError: If a file is missing, damaged or too large.
    """
    manifest = decode(_read_file(path, MANIFEST, MAX_MANIFEST))
    if manifest.step != step:
        raise CheckpointError(f"its manifest is that of step {manifest.step}")
    total = sum(size for size, _ in manifest.files.values())
    if total > max_bytes:
        raise CheckpointError(
            f"it has {total} bytes, but at most {max_bytes} are allowed. Pass a larger "
            "`max_bytes` if you trust it"
        )
    contents = {}
    for name, (size, expected) in manifest.files.items():
        data = _read_file(path, name, size)
        if len(data) != size or hashlib.sha256(data).hexdigest() != expected:
            raise CheckpointError(f"{name} is damaged: it does not match its sha256")
        if not shards.written(name) and (wanted is None or name in wanted):
            contents[name] = data
    return manifest, contents


def parse(contents: Contents) -> Arrays:
    """Returns the arrays of verified files.

    Raises:
      CheckpointError: If a file is not of this format or repeats a name.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, data in contents.items():
        try:
            found, _ = safetensors.parse(data, len(data))
        except ValueError as error:
            raise CheckpointError(f"{name} cannot be parsed: {error}") from None
        if repeated := sorted(set(arrays) & set(found)):
            raise CheckpointError(f"{name} repeats the leaves {repeated[:5]}.")
        arrays |= found
    return arrays


def _write_file(path: Path, pieces: Iterable[Piece]) -> list:
    """Writes a file; returns its size and its sha256."""
    sha, size = hashlib.sha256(), 0

    def counted() -> Iterator[Piece]:
        nonlocal size
        for piece in pieces:
            sha.update(piece)
            size += len(piece)
            yield piece

    disk.write_new(path, counted())
    return [size, sha.hexdigest()]


def _read_file(path: Path, name: str, max_bytes: int) -> bytes:
    try:
        return disk.read_regular(path / name, max_bytes)
    except FileNotFoundError:
        raise CheckpointError(f"{name} is missing") from None
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror}") from None
    except FileError as error:
        raise CheckpointError(f"{name} is damaged: {error}") from None
