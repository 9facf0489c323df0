"""Reads the HDF5 files of Keras, and the archives that contain one.

Only arrays and a few attributes of plain text are read. Everything that could refer to
other files (external links and storage, virtual datasets, soft links) or run code
(plugin filters, Python objects) raises an error before the HDF5 library resolves it.
"""

import importlib.util
import io
import json
import math
from typing import Any

import numpy as np

from jrnn.storage.formats import (
    CODES,
    DTYPES,
    MAX_NDIM,
    Arrays,
    Metadata,
    check_arrays,
    check_count,
    check_name,
    require,
)
from jrnn.storage.zips import MAX_RATIO, RATIO_FLOOR, open_archive, read_member

MAX_DEPTH = 32
MAX_TEXT = 64 << 20  # bytes of all attributes together
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}  # those of HDF5 itself
# Attributes that Keras writes: the configuration, and orders that names do not tell.
_TEXTS = {"model_config", "keras_version", "layer_names", "weight_names"}


def parse(data: bytes, limit: int) -> tuple[Arrays, Metadata]:
    """Reads the bytes of an `.h5` file.

    Returns:
      The arrays by their path in the file; and as metadata the attributes of Keras,
      "model_config" at the root and "weight_names lstm" in the group lstm. Lists are
      JSON.
    """
    installed = importlib.util.find_spec("h5py") is not None
    require(installed, "reading it needs h5py. Install `jrnn[interop]`.")
    import h5py  # noqa: PLC0415  optional

    with h5py.File(io.BytesIO(data), "r") as file:
        reader = _Reader(h5py, limit)
        reader.group("", file, 0)
    check_arrays(reader.arrays)
    return reader.arrays, reader.metadata


def parse_keras(data: bytes, limit: int) -> tuple[Arrays, Metadata]:
    """Reads the bytes of a `.keras` file: its weights, and its text as metadata.

    The configuration is returned as text. Nothing in it is imported or run.
    """
    with open_archive(data, limit) as archive:
        found = {each.filename: each for each in archive.infolist()}
        needed = {"config.json", "metadata.json", "model.weights.h5"}
        missing = sorted(needed - set(found))
        require(not missing, f"{missing} are missing, which Keras 3 writes.")
        other = sorted(set(found) - needed)
        require(
            not other,
            f"its members must be {sorted(needed)}, got {other} as well. Save the "
            "weights alone, with `model.save_weights('x.weights.h5')`.",
        )
        config, about, weights = (
            read_member(archive, found[name]) for name in sorted(needed)
        )
    arrays, metadata = parse(weights, limit)
    version = json.loads(about.decode("utf-8")).get("keras_version", "")
    require(isinstance(version, str), "its keras_version must be text.")
    text = config.decode("utf-8")
    return arrays, metadata | {"model_config": text, "keras_version": version}


class _Reader:
    """Walks through a file and reads what is allowed."""

    def __init__(self, h5py: Any, limit: int):
        self.h5py, self.limit = h5py, limit
        self.arrays: Arrays = {}
        self.metadata: Metadata = {}
        self.seen: set[int] = set()  # addresses of objects
        self.size = self.text = 0  # bytes so far

    def group(self, path: str, group: Any, depth: int) -> None:
        """Reads the attributes and members of a group."""
        require(depth <= MAX_DEPTH, f"its groups must be at most {MAX_DEPTH} deep.")
        self.once(path, group)
        for name in _TEXTS & set(group.attrs):
            self.attribute(f"{name} {path}".rstrip(), group, name)
        check_count(len(group) + len(self.seen), "objects")
        for name in group:
            inner = f"{path}/{name}".lstrip("/")
            check_name(inner)
            require("/" not in name, f"the name {name[:80]!r} must not be a path.")
            link = group.get(name, getlink=True)
            require(
                type(link) is self.h5py.HardLink,
                f"{inner} must be in the file, got a {type(link).__name__}.",
            )
            kind = group.get(name, getclass=True)
            if kind is self.h5py.Group:
                self.group(inner, group[name], depth + 1)
                continue
            require(
                kind is self.h5py.Dataset,
                f"{inner} must be a group or an array, got {kind.__name__}.",
            )
            self.arrays[inner] = self.array(inner, group[name])

    def once(self, path: str, found: Any) -> None:
        """Raises if an object appears under a second name, or contains itself."""
        address = self.h5py.h5o.get_info(found.id).addr
        require(address not in self.seen, f"{path} appears twice in the file.")
        self.seen.add(address)

    def attribute(self, key: str, group: Any, name: str) -> None:
        """Reads an attribute of text, or of a list of texts."""
        made = group.attrs.get_id(name)
        text = made.dtype.kind == "S" or self.h5py.check_string_dtype(made.dtype)
        empty = math.prod(made.shape) == 0
        require(text or empty, f"the attribute {key} must be text, got {made.dtype}.")
        require(len(made.shape) <= 1, f"the attribute {key} must be a list at most.")
        # Text of variable length can repeat one piece of the file.
        self.text += max(1, math.prod(made.shape)) * max(1, made.dtype.itemsize)
        require(self.text <= MAX_TEXT, f"its text must have at most {MAX_TEXT} bytes.")
        value = [] if empty and made.shape else group.attrs[name]
        texts = [_text(each) for each in np.atleast_1d(value).tolist()]
        self.text += sum(map(len, texts))
        require(self.text <= MAX_TEXT, f"its text must have at most {MAX_TEXT} bytes.")
        self.metadata[key] = json.dumps(texts) if made.shape else texts[0]

    def array(self, name: str, found: Any) -> np.ndarray:
        """Reads an array, if all its bytes are in the file."""
        self.once(name, found)
        plan = found.id.get_create_plist()
        alone = not found.is_virtual and plan.get_external_count() == 0
        require(alone, f"{name} must be in the file, got one that lies in others.")
        filters = {plan.get_filter(at)[0] for at in range(plan.get_nfilters())}
        require(
            filters <= set(_FILTERS),
            f"{name} must be compressed by {sorted(_FILTERS.values())} or not at all, "
            f"got the filters {sorted(filters)}.",
        )
        half = found.dtype == np.dtype("V2") and found.attrs.get("dtype") == "bfloat16"
        native = DTYPES["BF16"] if half else found.dtype.newbyteorder("=")
        plain = half or (native in CODES and native.kind != "V")
        require(plain, f"{name} must hold numbers, got {found.dtype}.")
        shape = found.shape
        require(
            shape is not None and len(shape) <= MAX_NDIM,
            f"{name} must have at most {MAX_NDIM} axes, got the shape {shape}.",
        )
        needed = math.prod(shape) * native.itemsize  # Python integers do not overflow
        self.size += needed
        require(
            self.size <= self.limit,
            f"its arrays must have at most {self.limit} bytes. Pass a larger "
            "`max_bytes` if you trust it.",
        )
        stored = found.id.get_storage_size()
        whole = stored >= needed if not filters else bool(stored or not needed)
        dense = needed <= RATIO_FLOOR or needed <= MAX_RATIO * stored
        require(
            whole and (dense or not filters),
            f"{name} {list(shape)} must have its {needed} bytes in the file, got "
            f"{stored}.",
        )
        values = np.asarray(found[()])
        return values.view(native) if half else values.astype(native, copy=False)


def _text(value: Any) -> str:
    text = value.decode("utf-8") if isinstance(value, bytes) else value
    require(isinstance(text, str), f"an attribute must be text, got {value!r:.80}.")
    return text
