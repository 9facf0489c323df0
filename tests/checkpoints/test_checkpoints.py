"""What is saved is restored bit for bit, or refused with what is wrong."""

import os
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrnn.training import checkpoints
from jrnn.training.checkpoints import (
    CheckpointError,
    Checkpoints,
    CheckpointWarning,
    NewerFormatError,
    files,
    folder as folders,
    manifest,
)
from tests.checkpoints.states import FACTS, assert_same, learner


def saved(path, steps=(10, 20), **options):
    with Checkpoints(path, FACTS, **options) as store:
        for step in steps:
            store.save(step, learner(step), {"position": 7 * step})
    return path


def restored(path, facts=FACTS, like=None, **options):
    with Checkpoints(path, facts, **options.pop("store", {})) as store:
        return store.restore(learner() if like is None else like, **options)


def test_everything_is_restored_bit_for_bit(tmp_path):
    found = restored(saved(tmp_path))
    assert (found.step, found.progress, found.notes) == (20, {"position": 140}, [])
    assert_same(found.tree, learner(20))
    shapes = jax.eval_shape(learner)
    again = checkpoints.load(tmp_path, {"params": shapes.params}, step=10)
    assert_same(again, {"params": learner(10).params})
    assert checkpoints.inspect(tmp_path).facts == FACTS
    assert not list(tmp_path.rglob("*.pkl")) and not list(tmp_path.glob(".part*"))


def test_an_empty_folder_has_nothing_to_restore(tmp_path):
    assert restored(tmp_path / "new") is None
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        checkpoints.inspect(tmp_path)


def test_only_the_newest_are_kept_and_a_step_is_saved_once(tmp_path):
    saved(tmp_path, [1, 2, 3, 4, 4], keep=2)
    assert folders.list_steps(tmp_path) == [3, 4]
    with Checkpoints(tmp_path, FACTS) as store:
        assert store.step == 4
        with pytest.raises(CheckpointError, match="step 3 cannot be saved"):
            store.save(3, learner())


def damage(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif isinstance(kind, float):
        path.write_bytes(data[: int(kind * len(data))])
    else:
        data[kind % len(data)] ^= 1 << (kind % 8)
        path.write_bytes(data)


KINDS = ["missing", "empty", 0.1, 0.5, 0.9, 0.999]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_damaged_file_is_noticed_and_the_checkpoint_before_is_used(tmp_path, kind):
    whole = saved(tmp_path / "whole")
    step = folders.step_path(whole, 20)
    for file in sorted(step.iterdir()):
        before = file.read_bytes()
        damage(file, kind)
        with Checkpoints(whole, FACTS) as store:
            found = files.find_newest(whole, store.steps(), None, 1 << 30)
        assert found.manifest.step == 10, file.name
        (reason,) = found.skipped.values()
        assert file.name in reason or "manifest" in reason
        file.write_bytes(before)


def test_every_flipped_bit_is_noticed(tmp_path):
    step = folders.step_path(saved(tmp_path, [5]), 5)
    rng = np.random.default_rng(0)
    names = sorted(step.iterdir())
    for _ in range(60):
        file = names[rng.integers(len(names))]
        before = file.read_bytes()
        place = int(rng.integers(8 * len(before)))
        damaged = bytearray(before)
        damaged[place // 8] ^= 1 << (place % 8)
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            files.read(step, 5, None, 1 << 30)
        file.write_bytes(before)
    files.read(step, 5, None, 1 << 30)


def test_damaged_newer_checkpoints_are_named_and_set_aside(tmp_path):
    saved(tmp_path, [10, 20, 30])
    (folders.step_path(tmp_path, 30) / "params.safetensors").write_bytes(b"x")
    with pytest.warns(CheckpointWarning, match=r"step_00000030.*params\.safetensors"):
        found = restored(tmp_path)
    assert found.step == 20
    assert folders.list_steps(tmp_path) == [10, 20]
    assert len(list(tmp_path.glob("aside_00000030_*"))) == 1
    for step in (10, 20):
        (folders.step_path(tmp_path, step) / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="no intact checkpoint.*step_00000010"):
        restored(tmp_path)


def test_going_back_to_a_step_keeps_what_came_after_aside(tmp_path):
    found = restored(saved(tmp_path), step=10)
    assert_same(found.tree, learner(10))
    assert folders.list_steps(tmp_path) == [10]
    with pytest.raises(
        CheckpointError, match=r"has no checkpoint of step 20. Its steps are \[10\]"
    ):
        restored(tmp_path, step=20)


def test_changes_are_all_listed_and_nothing_is_renamed(tmp_path):
    saved(tmp_path)
    other = {"config": {"hidden_size": 4, "rate": 0.1}, "data": "00", "words": ["a"]}
    with pytest.raises(CheckpointError) as caught:
        restored(tmp_path, facts=other)
    for text in ("hidden_size was 3 and is now 4", "data was '3f78'", "words", "rate"):
        assert text in str(caught.value)
    changed = {**FACTS, "config": {"hidden_size": 3, "rate": 0.1}}
    store = {"may_change": ["config.rate"]}
    with pytest.warns(CheckpointWarning, match=r"config\.rate was 0\.01.* now 0\.1"):
        assert restored(tmp_path, facts=changed, store=store).step == 20
    assert folders.list_steps(tmp_path) == [10, 20]


def test_one_path_is_no_collection_of_paths(tmp_path):
    with pytest.raises(TypeError, match=r"may_change .* got 'config'.* \('config',\)"):
        Checkpoints(tmp_path, FACTS, may_change="config")


def test_another_model_is_refused_by_its_leaves(tmp_path):
    saved(tmp_path)
    one = learner()
    more = one._replace(extra={**one.extra, "half": jnp.zeros(4, jnp.bfloat16)})
    with pytest.raises(CheckpointError, match=r"extra\.half.*\[3\].*\[4\]"):
        restored(tmp_path, like=more)
    wide = one._replace(extra={**one.extra, "half": jnp.zeros(3, jnp.float32)})
    with pytest.raises(CheckpointError, match=r"extra\.half.*bfloat16.*float32"):
        restored(tmp_path, like=wide)
    cast = restored(tmp_path, like=wide, cast=True)
    np.testing.assert_array_equal(cast.tree.extra["half"], np.full(3, 20.5))


def test_a_newer_format_is_refused_with_the_way_out(tmp_path):
    saved(tmp_path, [5])
    file = folders.step_path(tmp_path, 5) / "manifest.json"
    later = manifest.encode(manifest.decode(file.read_bytes()), version=2)
    file.write_bytes(later)
    with pytest.raises(NewerFormatError, match="format 2.*reads format 1"):
        restored(tmp_path)


def test_two_processes_cannot_share_a_folder(tmp_path):
    with (
        Checkpoints(tmp_path),
        pytest.raises(CheckpointError, match=f"in use by process {os.getpid()}"),
    ):
        Checkpoints(tmp_path)
    Checkpoints(tmp_path).close()


def test_junk_in_the_folder_is_ignored_and_leftovers_are_removed(tmp_path):
    saved(tmp_path)
    for name in ("step_abc", ".DS_Store", "step_0000002", ".part_00000030_ab"):
        (tmp_path / name).mkdir()
    os.symlink(tmp_path, tmp_path / "step_00000099")
    (tmp_path / "step_00000098").write_text("a file")
    assert restored(tmp_path).step == 20
    assert not (tmp_path / ".part_00000030_ab").exists()


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_what_is_not_finite_is_not_saved(tmp_path):
    bad = learner()._replace(state=jnp.array([1.0, jnp.nan]))
    with Checkpoints(tmp_path) as store:
        store.save(1, learner())
        with pytest.raises(CheckpointError, match="state is not finite at step 2"):
            store.save(2, bad)
        assert store.steps() == [1]
    with Checkpoints(tmp_path, require_finite=False) as store:
        store.save(2, bad)
        assert store.steps() == [1, 2]


def test_a_full_disk_leaves_earlier_checkpoints_and_nothing_else(tmp_path, monkeypatch):
    saved(tmp_path, [10])

    def full(path, pieces):
        path.write_bytes(next(iter(pieces)))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.disk, "write_new", full)
    with Checkpoints(tmp_path, FACTS) as store:
        with pytest.raises(CheckpointError, match="No space.*step 10 is there. Free"):
            store.save(20, learner())
        monkeypatch.undo()
        assert store.steps() == [10] and not list(tmp_path.glob(".part*"))
        store.save(20, learner())
    assert restored(tmp_path).step == 20


def test_saving_in_the_background_copies_and_reports_a_failure(tmp_path, monkeypatch):
    host, go_on, write = {"x": np.arange(5)}, threading.Event(), files.write

    def slow(*args):
        go_on.wait()
        write(*args)

    monkeypatch.setattr(files, "write", slow)
    with Checkpoints(tmp_path, background=True) as store:
        store.save(1, host)
        host["x"] += 100  # the loop goes on
        go_on.set()
        store.wait()
        assert store.step == 1
    monkeypatch.undo()
    with Checkpoints(tmp_path) as store:
        assert store.restore({"x": np.zeros(5, int)}).tree["x"].tolist() == [*range(5)]

    def broken(*args):
        raise CheckpointError("cannot write: gone")

    store = Checkpoints(tmp_path, background=True)
    monkeypatch.setattr(files, "write", broken)
    store.save(2, host)
    with pytest.raises(CheckpointError, match="gone"):
        store.save(3, host)
    assert store.step == 1
    monkeypatch.undo()
    store.save(4, host)
    store.close()
    assert folders.list_steps(tmp_path) == [1, 4]


def test_devices_and_shardings_are_those_of_the_template(tmp_path):
    mesh = jax.make_mesh((2,), ("batch",))
    split = jax.NamedSharding(mesh, jax.P("batch"))
    tree = {"x": jax.device_put(jnp.arange(6.0), split)}
    with Checkpoints(tmp_path) as store:
        store.save(1, tree)
        found = store.restore(tree)
    assert found.tree["x"].sharding == split
    assert found.tree["x"].tolist() == [*range(6)]


def test_another_environment_is_told(tmp_path, monkeypatch):
    saved(tmp_path)
    now = manifest.environment() | {"jax": "9.9", "devices": 512}
    monkeypatch.setattr(manifest, "environment", lambda: now)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = restored(tmp_path)
    texts = [str(each.message) for each in caught]
    assert any("jax was" in t and "'9.9'" in t for t in texts)
    assert any("devices was 2 and is now 512" in t for t in texts)
    assert found.notes == texts
