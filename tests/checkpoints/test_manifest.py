"""The manifest of a checkpoint: plain values, readable, and nothing else."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jrnn.training import checkpoints
from jrnn.training.checkpoints import CheckpointError, folder as folders, manifest
from tests.checkpoints.states import FACTS, Learner
from tests.checkpoints.test_checkpoints import saved


def test_a_manifest_cannot_name_files_elsewhere(tmp_path):
    saved(tmp_path, [5])
    file = folders.step_path(tmp_path, 5) / "manifest.json"
    good = manifest.decode(file.read_bytes())
    (entry, *_) = good.files.values()
    for name in ("../x", "/etc/passwd", "a/../b", "", "x" * 600, "a\x00b"):
        file.write_bytes(manifest.encode(good._replace(files={name: entry})))
        with pytest.raises(CheckpointError, match="file name|describes"):
            checkpoints.inspect(tmp_path)


def test_facts_must_be_plain():
    with pytest.raises(TypeError, match="facts must consist of dictionaries"):
        manifest.plain("facts", {"x": np.zeros(2)})
    with pytest.raises(TypeError, match="progress"):
        manifest.plain("progress", {"x": float("nan")})


def test_fingerprints_identify_data():
    print_ = checkpoints.fingerprint
    a = np.arange(6, dtype=np.int32)
    assert print_(a) == print_(a.copy()) == print_(jnp.asarray(a))
    others = [a[::-1].copy(), a.astype(np.int64), a.reshape(2, 3), {"x": a}]
    assert len({print_(x) for x in [a, *others, "a", b"b"]}) == 7


def test_a_manifest_is_json_that_people_can_read(tmp_path):
    saved(tmp_path, [5])
    text = (folders.step_path(tmp_path, 5) / "manifest.json").read_text()
    content = json.loads(text)
    assert content["facts"] == FACTS and content["step"] == 5
    assert content["leaves"]["extra.half"] == "bfloat16[3]"
    assert set(content["files"]) == {f"{name}.safetensors" for name in Learner._fields}
