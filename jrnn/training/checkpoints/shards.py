"""Arrays that every process writes and reads its parts of, with Orbax.

Orbax does not notice a flipped bit by itself. So the manifest of a checkpoint has the
sha256 of every file that Orbax wrote, and all are verified before Orbax reads them.
"""

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jrnn.storage import named_arrays, trees
from jrnn.training.checkpoints import leaves

FOLDER = "orbax"  # of the files of Orbax, in the folder of a checkpoint
_BLOCK = 1 << 20


def saver() -> Any:
    """Returns what saves in the background.

    Raises:
      ImportError: If Orbax is not installed.
    """
    orbax = _orbax()
    return orbax.AsyncCheckpointer(orbax.PyTreeCheckpointHandler())


def begin(saver: Any, part: Path, named: Mapping[str, Any]) -> None:
    """Begins to write named arrays.

    Orbax writes no arrays without elements. With several processes it takes arrays that
    are on all of them, and NumPy arrays, which process 0 writes.
    """
    given = {name: _shared(leaf) for name, leaf in named.items() if np.size(leaf)}
    path = part.absolute() / FOLDER
    saver.save(path, args=_orbax().args.PyTreeSave(given))


def describe(part: Path) -> dict[str, list[Any]]:
    """Returns the size and the sha256 of every file that Orbax wrote, by name."""
    found = sorted(path for path in (part / FOLDER).rglob("*") if path.is_file())
    return {path.relative_to(part).as_posix(): _described(path) for path in found}


def written(name: str) -> bool:
    """Whether Orbax wrote a file of a checkpoint, by its name in the manifest."""
    return name.startswith(f"{FOLDER}/")


def read(path: Path, like: Any, saved: Mapping[str, str]) -> dict[str, Any]:
    """Returns the arrays of a verified checkpoint, by name.

    Each process reads its own parts of arrays that have a sharding in `like`, and the
    whole of others.

    Args:
      path: The folder of the checkpoint.
      like: A tree of arrays or shapes, with shardings.
      saved: The outline of the tree that was saved, or of a part of it.
    """
    orbax = _orbax()
    whole = orbax.RestoreArgs(restore_type=np.ndarray)

    def how(leaf: Any) -> Any:
        typed = isinstance(leaf, jax.Array | jax.ShapeDtypeStruct)
        sharding = trees.sharding_of(leaf) if typed else None
        if sharding is None or named_arrays.is_random_key(leaf):
            return whole
        return orbax.ArrayRestoreArgs(restore_type=jax.Array, sharding=sharding)

    names = named_arrays.leaf_names(like)
    wanted = dict(zip(names, map(how, jax.tree.leaves(like)), strict=True))
    shapes = {name: leaves.shape(saved[name]) for name in wanted}
    empty = {name for name in wanted if 0 in shapes[name]}
    kept = {name: each for name, each in wanted.items() if name not in empty}
    args = orbax.args.PyTreeRestore(
        item=dict.fromkeys(kept, 0), restore_args=kept, partial_restore=True
    )
    with orbax.PyTreeCheckpointer() as reader:
        found = dict(reader.restore(path.absolute() / FOLDER, args=args))
    for name in empty:
        dtype = saved[name].partition("[")[0]
        found[name] = np.zeros(shapes[name], jax.numpy.dtype(dtype))
    return found


def _shared(leaf: Any) -> Any:
    local = jax.process_count() > 1 and getattr(leaf, "is_fully_addressable", True)
    return np.asarray(leaf) if local else leaf


def _described(path: Path) -> list[Any]:
    sha, size = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            sha.update(block)
            size += len(block)
    return [size, sha.hexdigest()]


def _orbax() -> Any:
    try:
        return importlib.import_module("orbax.checkpoint")
    except ImportError:
        raise ImportError(
            "`sharded=True` needs Orbax: `pip install orbax-checkpoint`."
        ) from None
