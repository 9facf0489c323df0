"""Two devices, so that meshes can be tested, and programs that compile fast.

Nearly all the time of these tests is that of compiling small programs that run once. So
LLVM optimizes little, and XLA emits loops in its older and faster way. The memory that
a program takes stays the same. The environment says so to the processes that tests
start as well; if it holds JAX_DISABLE_MOST_OPTIMIZATIONS=0, programs are compiled as
they are for users.

`JRNN_STRICT=1 python -m pytest` runs the tests under the strict modes of JAX: 64 bits,
checks of JAX's own internals, an error at the first NaN, and no leaked tracers. With
the last mode JAX compiles everything again at each call, so this takes hours. The names
of some modes, with commas, turn on only these.
"""

import gc
import os
import subprocess
import sys

import jax
import pytest

FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
READ = """
from jaxlib import xla_client
xla_client.CompileOptions().executable_build_options.debug_options
"""


def compile_fast() -> None:
    """Sets what XLA reads when it is first used."""
    jax.config.update("jax_disable_most_optimizations", True)
    given = os.environ.get("XLA_FLAGS", "")
    if FLAGS in given:  # as in the workers of a run
        return
    flags = {"XLA_FLAGS": f"{FLAGS} {given}".strip()}
    # XLA ends a process that gives it a flag it does not know, so another tries first.
    read = [sys.executable, "-c", READ]
    tried = subprocess.run(read, env=os.environ | flags, capture_output=True)
    if tried.returncode == 0:
        os.environ.update(flags)


MODES = (
    "jax_enable_x64",
    "jax_enable_checks",
    "jax_debug_nans",
    "jax_check_tracer_leaks",
)
GIVEN = os.environ.get("JRNN_STRICT", "0")
STRICT = {"0": (), "1": MODES}.get(GIVEN, tuple(GIVEN.split(",")))
if not set(STRICT) <= set(MODES):
    raise ValueError(f"JRNN_STRICT must be 0, 1 or some of {','.join(MODES)}")

gc.disable()  # until all tests are collected
jax.config.update("jax_num_cpu_devices", 2)
# Commands keep no programs in the cache of the user, here and in other processes.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"
jax.config.update("jax_enable_compilation_cache", False)
for mode in STRICT:
    jax.config.update(mode, True)
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    compile_fast()


def pytest_collection_finish():
    """Lets the garbage collector search less often, and never what is imported.

    Compiling makes many objects, few of them in cycles: a tenth of the time was spent
    on the search.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


@pytest.fixture(autouse=bool(STRICT))
def without_modes(request):
    """Turns off the modes that a test is marked with."""
    marks = {mark.args[0] for mark in request.node.iter_markers("without")}
    for mode in marks & set(STRICT):
        jax.config.update(mode, False)
    yield
    for mode in marks & set(STRICT):
        jax.config.update(mode, True)


@pytest.fixture(autouse="jax_check_tracer_leaks" in STRICT)
def short_search():
    """Hides older objects from the collector, which JAX calls to find leaked tracers.

    It is called hundreds of times in a test, and what JAX keeps grows with each test.
    """
    gc.collect()
    gc.freeze()
