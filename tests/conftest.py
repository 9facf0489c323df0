"""Two devices, so that meshes can be tested, and programs that compile fast.

Nearly all the time of these tests is that of compiling small programs that run once. So
LLVM optimizes little, and XLA emits loops in its older and faster way. The memory that
a program takes stays the same. The environment says so to the processes that tests
start as well; if it holds JAX_DISABLE_MOST_OPTIMIZATIONS=0, programs are compiled as
they are for users.
"""

import os
import subprocess
import sys

import jax

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


jax.config.update("jax_num_cpu_devices", 2)
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    compile_fast()
