"""Compiled programs are kept between commands, so the second start is faster.

JAX stores them by a hash of the program, its options and the versions. The folder is
named after the processor as well, because a folder may be shared by machines.
"""

import contextlib
import functools
import hashlib
import os
import platform
import re
import warnings
from pathlib import Path
from typing import Any

import jax

SECONDS = 0.3  # programs that compile faster are not kept
LIMIT = 500 << 20  # bytes; the oldest programs beyond are removed


def enable() -> None:
    """Keeps compiled programs in the cache folder of the user.

    `JAX_COMPILATION_CACHE_DIR` chooses another folder, and
    `JAX_ENABLE_COMPILATION_CACHE=0` turns it off.
    """
    given = jax.config.values
    if given["jax_compilation_cache_dir"] or not given["jax_enable_compilation_cache"]:
        return
    folder = location()
    with contextlib.suppress(OSError):  # a folder that cannot be written: no cache
        folder.mkdir(parents=True, exist_ok=True)
        prune(folder)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
        warnings.showwarning = functools.partial(forget, folder, warnings.showwarning)


def location() -> Path:
    """Returns the folder, which depends on the user and the processor."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "jrnn" / f"programs-{processor()}"


def processor() -> str:
    """Returns a hash of the processor and of what it can do."""
    text = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):  # Linux
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = [line for line in lines if line.startswith(("model name", "flags"))]
        text += "\n".join(sorted(set(named)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def forget(folder: Path, show: Any, message: Any, *place: Any) -> None:
    """Removes a damaged program instead of the warning that it cannot be read.

    JAX does not write programs atomically, and compiles one that it cannot read. It
    would never replace it, and warn at every start.
    """
    damaged = re.match(r"Error reading persistent .* entry for '(\w+)'", str(message))
    if damaged is None:
        show(message, *place)
        return
    for file in folder.glob(f"{damaged[1]}-*"):
        file.unlink(missing_ok=True)


def prune(folder: Path, limit: int = LIMIT) -> None:
    """Removes the programs that were written first, until the rest fits the limit."""
    found = []
    for file in folder.iterdir():
        with contextlib.suppress(OSError):  # another process removed it
            found.append((file.stat().st_mtime, file.stat().st_size, file))
    total = sum(size for _, size, _ in found)
    for _, size, file in sorted(found):
        if total <= limit:
            break
        file.unlink(missing_ok=True)
        total -= size
