"""Checkpoints whose arrays every process writes its part of."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec as P

from jrnn.training import checkpoints
from jrnn.training.checkpoints import (
    CheckpointError,
    Checkpoints,
    CheckpointWarning,
    shards,
)
from tests.checkpoints import states

pytest.importorskip("orbax.checkpoint")


def on_two(array, *spec, names=("d",)):
    return jax.device_put(array, NamedSharding(jax.make_mesh((2,), names), P(*spec)))


def saved(folder, tree, step=1, **how):
    with Checkpoints(folder, states.FACTS, sharded=True, **how) as store:
        store.save(step, tree, {"position": 7 * step})


def restored(folder, like, **how):
    with Checkpoints(folder, states.FACTS, sharded=True) as store:
        return store.restore(like, **how)


def test_everything_is_restored_bit_for_bit(tmp_path):
    learner = states.learner(1)
    saved(tmp_path, learner)
    found = restored(tmp_path, states.learner(2))
    states.assert_same(found.tree, learner)
    assert (found.step, found.progress) == (1, {"position": 7})
    named = checkpoints.load(tmp_path, {"params": learner.params})
    states.assert_same(named["params"], learner.params)
    with Checkpoints(tmp_path, states.FACTS) as plain:  # reads both kinds
        states.assert_same(plain.restore(states.learner(2)).tree, learner)


def test_arrays_move_to_the_shardings_of_the_template(tmp_path):
    values = jnp.arange(32, dtype="float32").reshape(8, 4)
    saved(tmp_path, {"w": on_two(values, "d"), "n": np.int32(3)})
    like = {
        "w": on_two(jnp.zeros((8, 4), "float32"), None, "m", names=("m",)),
        "n": np.int32(0),
    }
    shapes = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), like["w"]
    )
    for each in (like, {**like, "w": shapes}):
        tree = restored(tmp_path, each).tree
        assert tree["w"].sharding == like["w"].sharding
        np.testing.assert_array_equal(tree["w"], values)
    with pytest.raises(CheckpointError, match="w was 'float32.* and is now 'float16"):
        restored(tmp_path, {**like, "w": jnp.zeros((8, 4), "float16")})
    half = restored(tmp_path, {**like, "w": jnp.zeros((8, 4), "float16")}, cast=True)
    np.testing.assert_array_equal(half.tree["w"], values.astype("float16"))


def test_every_file_of_orbax_is_verified_before_it_is_used(tmp_path):
    tree = {"w": on_two(jnp.arange(8.0), "d")}
    for step in (1, 2):
        saved(tmp_path, jax.tree.map(lambda a, s=step: a + s, tree), step)
    files = [*(tmp_path / "step_00000002" / "orbax").rglob("*")]
    files = [path for path in files if path.is_file()]
    described = checkpoints.inspect(tmp_path, 2).files
    assert len(files) == len(described) > 4
    for path in files:
        whole = path.read_bytes()
        middle = len(whole) // 2
        for damaged in (
            whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            whole[:-1],
            None,
        ):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            with pytest.raises(CheckpointError, match=path.name):
                checkpoints.load(tmp_path, tree, 2)
            path.write_bytes(whole)
    path.write_bytes(whole[:-1])
    with pytest.warns(CheckpointWarning, match=path.name):
        found = restored(tmp_path, tree)
    np.testing.assert_array_equal(found.tree["w"], np.arange(8.0) + 1)


def full(part):
    raise OSError(28, "No space left on device")


def test_a_failure_leaves_nothing_and_what_is_not_finite_is_refused(
    tmp_path, monkeypatch
):
    saved(tmp_path, {"w": jnp.ones(3)}, 1)
    with Checkpoints(tmp_path, states.FACTS, sharded=True, background=True) as store:
        store.restore({"w": jnp.ones(3)})
        with pytest.raises(CheckpointError, match="w is not finite at step 2"):
            store.save(2, {"w": jnp.array([1.0, jnp.inf, 1.0])})
        with pytest.raises(CheckpointError, match="w must be numeric"):
            store.save(2, {"w": np.array(["text"])})
        with monkeypatch.context() as patch:
            patch.setattr(shards, "describe", full)
            store.save(2, {"w": jnp.ones(3)})
            with pytest.raises(
                CheckpointError, match="cannot write .*00000002: .*No sp"
            ):
                store.wait()
        assert store.step == 1 and not [*tmp_path.glob(".part*")]
        w = jnp.full(3, 2.0)
        store.save(3, {"w": w})
        w.delete()  # it was copied
        assert store.step == 1
        store.wait()
        assert store.step == 3
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".lock", "step_00000001", "step_00000003"}
    assert checkpoints.load(tmp_path, {"w": jnp.ones(3)})["w"].tolist() == [2, 2, 2]


def test_two_processes_write_their_parts(tmp_path):
    command = [sys.executable, "-m", "tests.checkpoints.sharded", str(tmp_path)]
    started = [
        subprocess.Popen([*command, str(i)], stderr=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    errors = [each.communicate(timeout=120)[1] for each in started]
    assert [each.returncode for each in started] == [0, 0], errors
    values = np.arange(32.0, dtype="float32").reshape(8, 4)
    like = {"w": jnp.zeros((8, 4), "float32"), "key": jax.random.key(0)}
    with pytest.warns(CheckpointWarning, match=r"was \w+ and is now \w+"):
        found = restored(tmp_path, like)
    np.testing.assert_array_equal(found.tree["w"], values + 1)
    assert found.tree["key"] == jax.random.key(5)
    parts = {name.split("/")[1] for name in checkpoints.inspect(tmp_path).files}
    assert {"ocdbt.process_0", "ocdbt.process_1"} <= parts
