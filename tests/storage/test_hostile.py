"""Weight files made to do harm, and files that are not ours."""

import os
import time
import tracemalloc

import numpy as np
import pytest

from experiments.drill.hostile_files import (
    BODY,
    HOSTILE,
    archive,
    entry,
    npy,
    safetensors,
)
from jrnn.interop import files


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_fast_and_in_little_memory(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    size = len(HOSTILE[name])
    before = sorted(os.walk(tmp_path))
    tracemalloc.start()
    start = time.monotonic()
    with pytest.raises(files.FileError, match=name):
        files.load_arrays(path)
    spent, peak = time.monotonic() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent < 3 and peak < 200e6 + size, (spent, peak)
    assert sorted(os.walk(tmp_path)) == before


def test_overlapping_repeated_and_encrypted_members_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    good = archive([("a.npy", npy(np.zeros(2))), ("b.npy", npy(np.ones(2)))])
    directory = good.index(b"PK\1\2")
    second = good.index(b"PK\1\2", directory + 1)
    offset = slice(second + 42, second + 46)
    for change, at in [
        (b"\0\0\0\0", offset),  # both members at one place
        (b"a.npy", slice(second + 46, second + 51)),
        (b"\1", slice(second + 8, second + 9)),
    ]:
        bad = bytearray(good)
        bad[at] = change
        path.write_bytes(bad)
        with pytest.raises(files.FileError):
            files.load_arrays(path)


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    path = tmp_path / "a.npz"
    files.save_arrays(path, {"a": np.arange(99.0)})
    link, pipe, folder = (tmp_path / f"{n}.npz" for n in ("link", "pipe", "folder"))
    link.symlink_to(path)
    os.mkfifo(pipe)
    folder.mkdir()
    for irregular in (link, pipe, folder):
        with pytest.raises((files.FileError, IsADirectoryError)):
            files.load_arrays(irregular)
    with pytest.raises(files.FileError, match="at most 100 bytes"):
        files.load_arrays(path, max_bytes=100)
    big = tmp_path / "big.npz"
    np.savez_compressed(big, a=np.zeros(1000))
    with pytest.raises(files.FileError, match="expand to more than 4000"):
        files.load_arrays(big, max_bytes=4000)
    with pytest.raises(FileNotFoundError):
        files.load_arrays(tmp_path / "none.npz")


def test_a_file_without_hash_or_of_another_format_is_not_taken_for_ours(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors({"a": entry(0, 8)}, BODY))
    assert files.load_arrays(path)[0]["a"].tolist() == [0, 0]
    with pytest.raises(files.FileError, match="has no hash"):
        files.load_arrays(path, signed=True)
    newer = {"jrnn.format": "2"}
    newer["jrnn.sha256"] = files.digest({}, newer)
    path.write_bytes(safetensors({"__metadata__": newer}))
    with pytest.raises(files.FileError, match="format must be 1, got 2"):
        files.load_arrays(path)
