"""Compiled programs are kept: within a limit, and without those that are damaged."""

import os
import subprocess
import sys
import warnings

import jax

from experiments.run import cache

DAMAGED = 100  # bytes that are left of a program
PROGRAM = """
import sys, warnings
from experiments.run import cache
cache.SECONDS = 0.0
cache.enable()
import jax, jax.numpy as jnp
warnings.simplefilter("always")
print(float(jax.jit(lambda x: jnp.tanh(x) @ x)(jnp.ones((3, 3)))[0, 0]))
"""


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_damaged_program_is_compiled_again_and_replaced(tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_ENABLE_COMPILATION_CACHE")
    programs, outputs = [], []
    for damage in (False, True, False):
        if damage:
            for file in files(tmp_path):
                file.write_bytes(file.read_bytes()[:DAMAGED])
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "persistent" not in run.stderr
        outputs.append(run.stdout)
        programs.append({file.name: file.read_bytes() for file in files(tmp_path)})
    assert len(set(outputs)) == 1
    first, second, third = programs
    assert first and first.keys() == second.keys()
    # Compiling again may give other bytes, so only the length says that it is whole.
    assert min(map(len, second.values())) > DAMAGED
    assert third == second


def test_the_oldest_programs_are_removed(tmp_path):
    for age, name in enumerate(["new", "old", "oldest"]):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (100 - age, 100 - age))
    cache.prune(tmp_path, limit=20)
    assert {file.name for file in tmp_path.iterdir()} == {"new", "old"}


def test_other_warnings_are_shown(tmp_path, monkeypatch):
    shown = []
    cache.forget(tmp_path, lambda *given: shown.append(given), "other", UserWarning)
    assert shown == [("other", UserWarning)]


def test_a_folder_of_the_user_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = warnings.showwarning
    cache.enable()  # tests turn it off
    monkeypatch.setitem(jax.config.values, "jax_enable_compilation_cache", True)
    monkeypatch.setitem(jax.config.values, "jax_compilation_cache_dir", "mine")
    cache.enable()
    assert not list(tmp_path.iterdir()) and warnings.showwarning is before
    assert cache.location().parent == tmp_path / "jrnn"
    assert cache.processor() == cache.processor() and len(cache.processor()) == 12
