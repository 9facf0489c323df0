"""Options of the benchmark and their allowed values."""

import dataclasses
import os
import pathlib
from typing import NamedTuple

from experiments.errors import UserError, refuse
from experiments.run.options import out_of_range

CELLS = ("lstm", "gru", "elman")
COMPILED_CELLS = (*CELLS, "mgu", "peephole", "lru", "indrnn")
DTYPES = ("float32", "bfloat16")
MODES = ("forward", "gradient", "gradient-inputs")
LIBRARIES = ("torch", "linen", "nnx", "haiku", "keras", "equinox", "jrnn")
PEERS = (*LIBRARIES[:-1], "jrnn:scan", "jrnn:gated", "jrnn")


class Size(NamedTuple):
    """Sizes of one network and its data."""

    time: int
    batch: int
    inputs: int
    hidden: int


SIZES = {
    "A": Size(128, 32, 128, 128),
    "B": Size(128, 16, 256, 512),
    "C": Size(256, 1, 128, 256),
    "D": Size(512, 64, 64, 256),
    "E": Size(100, 128, 28, 128),
}
LARGE = tuple(f"1024,256,{units},{units}" for units in (256, 512, 1024, 2048))
METHODS = ("scan", "gated", "pallas", "cudnn")
SYMBOLS = 65  # of the sampler; its time is the number of generated symbols
SAMPLER = Size(512, 1, 64, 256)
SAMPLERS = ("torch", "linen", "jrnn")
# The varied size, the other sizes, and the values.
SWEEPS = {
    "T": (Size(0, 16, 64, 64), (64, 128, 256, 512, 1024, 2048, 4096)),
    "B": (Size(128, 0, 128, 128), (1, 4, 16, 32, 64, 128, 256)),
    "H": (Size(64, 16, 0, 0), (32, 64, 128, 256, 512, 1024)),
}


@dataclasses.dataclass(frozen=True)
class Bench:
    """Options of the benchmark."""

    sizes: tuple[str, ...] = tuple(SIZES)
    """Letters of standard sizes, or time,batch,inputs,hidden."""

    cells: tuple[str, ...] = CELLS
    """Any of lstm, gru and elman."""

    modes: tuple[str, ...] = MODES
    """Any of forward, gradient (of the parameters) and gradient-inputs (of parameters
    and inputs)."""

    peers: tuple[str, ...] = PEERS
    """Libraries to time: torch linen nnx haiku keras equinox jrnn. `jrnn:METHOD`
    selects a kernel and `jrnn@2` splits the batch over two devices. Libraries that are
    not installed are skipped."""

    base: str = "torch"
    """The peer to which the others are compared."""

    rounds: int = 5
    """Number of turns of each peer."""

    calls: int = 3
    """Calls per turn. The fastest one counts."""

    processor_time: bool = False
    """Whether to measure the processor time of all threads instead of wall-clock time.
    It depends less on other programs, and measures the work of a call."""

    sweeps: tuple[str, ...] = tuple(SWEEPS)
    """Any of T, B and H, for plots of the time of an LSTM gradient."""

    sweep_peers: tuple[str, ...] = ("linen", "jrnn")
    """Libraries to sweep."""

    sampler: bool = True
    """Whether to time text generation with two LSTM layers."""

    out: pathlib.Path = pathlib.Path()
    """Folder of benchmarks.md, benchmarks.json and benchmarks.svg."""


@dataclasses.dataclass(frozen=True)
class Compile:
    """Options of the benchmark with --compile-for."""

    compile_for: str
    """A topology of TPUs such as v5e:2x2, or h100. Nothing runs, and nothing is
    timed."""

    sizes: tuple[str, ...] = (*SIZES, "128,32,1024,1024", "128,32,2048,2048")
    """Letters of standard sizes, or time,batch,inputs,hidden."""

    cells: tuple[str, ...] = COMPILED_CELLS
    """Cells of jrnn."""

    methods: tuple[str, ...] = ("scan", "gated", "pallas", "linear", "parallel")
    """Methods of `jrnn.scan`, each for the cells that it supports."""

    modes: tuple[str, ...] = ("forward", "gradient-inputs")
    """Any of forward, gradient and gradient-inputs."""

    dtypes: tuple[str, ...] = DTYPES
    """Dtypes of parameters and inputs: float32, bfloat16."""

    out: pathlib.Path | None = None
    """Folder of compiled.md and compiled.json, which keep the rows of earlier runs;
    None to print only."""


@dataclasses.dataclass(frozen=True)
class OnDevice:
    """Options of the benchmark with --device."""

    device: str
    """JAX's name of the device: gpu, tpu or cpu."""

    sizes: tuple[str, ...] = (*SIZES, *LARGE)
    """Letters of standard sizes, or time,batch,inputs,hidden."""

    cells: tuple[str, ...] = CELLS
    """Any of lstm, gru and elman."""

    modes: tuple[str, ...] = ("forward", "gradient-inputs")
    """Any of forward, gradient and gradient-inputs."""

    dtypes: tuple[str, ...] = DTYPES
    """Dtypes of parameters and inputs: float32, bfloat16."""

    precision: str = "default"
    """Precision of float32 matmuls, in JAX and torch: default, or highest, which is
    float32. By default, GPUs may round to TF32, and TPUs to bfloat16."""

    peers: tuple[str, ...] = ("torch", "linen", *(f"jrnn:{m}" for m in METHODS), "jrnn")
    """torch, linen, jrnn, and jrnn:METHOD. torch runs if it finds the device."""

    base: str = "torch"
    """The peer to which the others are compared; the plain scan if it is missing."""

    rounds: int = 5
    """Number of turns of each peer."""

    calls: int = 3
    """Calls per turn. The fastest one counts."""

    profile: bool = False
    """Whether to profile a call of each peer: the number of operations, and how long
    the device was busy with them."""

    out: pathlib.Path = pathlib.Path()
    """Folder of device.md, device.html and device.json."""


def check_on_device(config: OnDevice) -> None:
    """Raises a `UserError` for the first invalid option."""
    require_known("cells", config.cells, CELLS)
    require_known("modes", config.modes, MODES)
    require_known("dtypes", config.dtypes, DTYPES)
    require_known("precision", (config.precision,), ("default", "highest"))
    libraries = tuple(split_peer(peer)[0] for peer in config.peers)
    require_known("peers", libraries, ("torch", "linen", "jrnn"))
    for text in config.sizes:
        size_of(text)
    refuse(out_of_range(config, {"rounds": 1, "calls": 1}))
    _writable(config.out)


def check_compile(config: Compile) -> None:
    """Raises a `UserError` for the first invalid option."""
    require_known("cells", config.cells, COMPILED_CELLS)
    require_known("methods", config.methods, Compile.methods)
    require_known("modes", config.modes, MODES)
    require_known("dtypes", config.dtypes, DTYPES)
    for text in config.sizes:
        size_of(text)
    if config.out is not None:
        _writable(config.out)


def size_of(text: str, option: str = "sizes") -> Size:
    """Parses a size given by an option: a letter of `SIZES`, or four numbers.

    Raises:
      UserError: If it is neither.
    """
    if text in SIZES:
        return SIZES[text]
    numbers = text.split(",")
    if len(numbers) != 4 or not all(n.isdigit() and int(n) for n in numbers):
        raise UserError(
            f"--{option} {text}: a size is one of {', '.join(SIZES)}, or four positive "
            "numbers time,batch,inputs,hidden such as 128,32,128,128."
        )
    return Size(*map(int, numbers))


def check(config: Bench) -> None:
    """Raises a `UserError` for the first invalid option."""
    require_known("cells", config.cells, CELLS)
    require_known("modes", config.modes, MODES)
    require_known("sweeps", config.sweeps, tuple(SWEEPS))
    for text in config.sizes:
        size_of(text)
    for name in ("peers", "sweep_peers"):
        libraries = tuple(split_peer(peer)[0] for peer in getattr(config, name))
        require_known(name.replace("_", "-"), libraries, LIBRARIES)
    if config.base not in config.peers:
        raise UserError(f"--base must be among --peers, got {config.base}.")
    refuse(out_of_range(config, {"rounds": 1, "calls": 1}))
    _writable(config.out)


def split_peer(peer: str) -> tuple[str, str, int]:
    """Splits `jrnn:METHOD@2` into library, method and number of devices.

    Raises:
      UserError: If the number of devices is invalid.
    """
    rest, _, devices = peer.partition("@")
    if devices and not (devices.isdigit() and int(devices)):
        raise UserError(f"{peer} must have a number of devices after @, as in jrnn@2.")
    library, _, method = rest.partition(":")
    return library, method or "auto", int(devices or 1)


def require_known(option: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise UserError(f"--{option} must be among {', '.join(known)}, got {name}.")


def _writable(folder: pathlib.Path) -> None:
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"--out {folder} is not a writable folder.")
