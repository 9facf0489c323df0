"""The table of all cells: `docs/cells.md`."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import jrnn
from experiments import targets
from experiments.command_line import NoOptions, parse
from jrnn import kernels, training
from jrnn.types import Cell

SIZE = 64  # of inputs and of units; 8 x 8 images of 8 channels for convolutions
_ABOUT = """
State sizes and numbers of parameters are for {size} inputs and {size} units. Those of
convolutions are for images of 8 x 8 pixels with 8 channels. The structure is that of
the Jacobian of the state. Every cell runs under the kernel `scan`, and every cell
can be trained by backpropagation through time, full or truncated. The table lists the
other kernels that support the cell, and the online gradient methods that are defined
for it. `pallas` has kernels for TPUs and for NVIDIA GPUs; "pallas (TPU)" means that the
cell has a kernel for TPUs only. `LSTM` also runs under `cudnn`.
[your_own_cell.md](your_own_cell.md) lists cells of papers that are options of these.
""".strip()
_ROOT = Path(__file__).parent.parent
# Constructors that need more than a size.
_LSTM = jrnn.LSTM(SIZE)
_SPECIAL: dict[str, Any] = {
    "ConvLSTM": lambda: jrnn.ConvLSTM(8, (3, 3), (8, 8)),
    "ConvGRU": lambda: jrnn.ConvGRU(8, (3, 3), (8, 8)),
    "Jordan": lambda: jrnn.Jordan(SIZE, SIZE),
    "OutputToOutput": lambda: jrnn.OutputToOutput(SIZE, SIZE),
    "ProjectedLSTM": lambda: jrnn.ProjectedLSTM(SIZE, SIZE // 2),
    "ProjectedGRU": lambda: jrnn.ProjectedGRU(SIZE, SIZE // 2),
    "S5": lambda: jrnn.S5(SIZE, features=SIZE),
    "MultiHead": lambda: jrnn.MultiHead(_LSTM, heads=4),
    "Orthogonal": lambda: jrnn.Orthogonal(jrnn.Elman(SIZE)),
    "ClipState": lambda: jrnn.ClipState(_LSTM, bounds=(None, 3.0)),
    "CutRecurrentGradient": lambda: jrnn.CutRecurrentGradient(_LSTM),
    "InputDropout": lambda: jrnn.InputDropout(_LSTM, 0.2),
    "RecurrentDropout": lambda: jrnn.RecurrentDropout(_LSTM, 0.2),
    "ClipCotangent": lambda: jrnn.ClipCotangent(_LSTM, norm=1.0),
    "WeightDrop": lambda: jrnn.WeightDrop(_LSTM, 0.5),
    "Zoneout": lambda: jrnn.Zoneout(_LSTM, 0.1),
    "LayerNormed": lambda: jrnn.LayerNormed(_LSTM),
    "LearnedState": lambda: jrnn.LearnedState(_LSTM),
    "MixedPrecision": lambda: jrnn.MixedPrecision(_LSTM),
    "ResidualCell": lambda: jrnn.ResidualCell(_LSTM),
}
_METHODS = {
    "RTRL": training.RTRL(),
    "SnAp1": training.SnAp1(),
    "EProp": training.EProp(),
}


def main(prog: str, arguments: list[str]) -> int:
    """Prints the page."""
    parse(NoOptions, prog, arguments, description="Prints the table of all cells.")
    sys.stdout.write(page())
    return 0


def page() -> str:
    """Returns the page."""
    rows = [_row(name, kind) for name, kind in sorted(finished().items())]
    wrappers = [row for row in rows if row[0].endswith("(...)`")]
    cells = [row for row in rows if row not in wrappers]
    head = ["cell", "source", "state", "parameters", "structure"]
    head += ["kernels", "gradient methods", "importers", "test"]
    return "\n".join(
        [
            "# Cells",
            "",
            "    python -m experiments cells > docs/cells.md",
            "",
            *_ABOUT.format(size=SIZE).splitlines(),
            "",
            *_table(head, cells),
            "",
            "## Wrappers",
            "",
            "A wrapper keeps what the cell inside can do; the rows are of an LSTM.",
            "",
            *_table(head, wrappers),
            "",
        ]
    )


def finished() -> dict[str, type[Cell]]:
    """Returns all cells of the library that can be made, by name."""
    return {
        name: value
        for name, value in vars(jrnn.cells).items()
        if isinstance(value, type)
        and issubclass(value, Cell)
        and not inspect.isabstract(value)
        and hasattr(jrnn, name)
        and name != "AttentionCell"  # needs a memory
    }


def make(name: str, kind: type[Cell]) -> Cell:
    """Returns a cell of this kind."""
    return _SPECIAL[name]() if name in _SPECIAL else kind(SIZE)  # type: ignore[call-arg]


def _row(name: str, kind: type[Cell]) -> list[str]:
    cell = make(name, kind)
    size: Any = 8 if cell.feature_axes > 1 else SIZE
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), size))
    state = jax.eval_shape(lambda p: cell.initial_state(p), params)
    count = [sum(leaf.size for leaf in jax.tree.leaves(t)) for t in (state, params)]
    around = "(...)" if hasattr(cell, "cell") else ""
    return [
        f"`{name}{around}`",
        _source(kind),
        f"{count[0]:,}",
        f"{count[1]:,}",
        _words(cell.structure),
        ", ".join(_kernels(cell)),
        ", ".join(_methods(cell)),
        ", ".join(_importers(name)),
        _test(name),
    ]


def _words(structure: Any) -> str:
    return structure if isinstance(structure, str) else f"blocks of {structure[1]}"


def _source(kind: type[Cell]) -> str:
    """Returns the first reference of a docstring as a link."""
    text = (inspect.getdoc(kind) or "").partition("References:")[2]
    found = re.match(
        r"\s*(?:\[1\] )?(.+?),\s+(\d{4}),\s+(https?://[^\s,]+)", text, re.S
    )
    if found is None:
        return ""
    author, year, link = (" ".join(part.split()) for part in found.groups())
    return f"[{author}, {year}]({link})"


def _kernels(cell: Cell) -> list[str]:
    """Returns the kernels that take a cell, without the scan and those of devices."""
    shape = (8, 2, 8, 8, 8) if cell.feature_axes > 1 else (8, 2, SIZE)
    inputs = kernels.Inputs(jnp.zeros(shape), None, None, None)
    found = [
        name
        for name, kernel in kernels.METHODS.items()
        if name not in ("scan", "cudnn")
        and kernel.refusal(cell, inputs, kernels.Options()) is None
    ]
    words = {} if "pallas" not in found else {"pallas": _platforms(cell)}
    return [words.get(name, name) for name in found]


def _platforms(cell: Cell) -> str:
    """Returns `pallas`, and for which platform if it has no kernel for a GPU.

    A gradient in bfloat16 is lowered, the smallest: GPUs have less memory on the chip.
    """

    def loss(params: Any, xs: Any) -> Any:
        return jnp.sum(jrnn.scan(cell, params, None, xs, method="pallas")[1])

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), SIZE, "bfloat16"))
    xs = jax.ShapeDtypeStruct((2, 8, SIZE), "bfloat16")
    try:
        targets.lowered("h100", jax.grad(loss), params, xs)
    except ValueError:  # of what it cannot compute or hold
        return "pallas (TPU)"
    return "pallas"


def _methods(cell: Cell) -> list[str]:
    """Returns the online gradient methods that are defined for a cell."""
    if cell.feature_axes > 1:
        return []
    xs = jnp.zeros((1, 4, SIZE))
    found = []
    for name, method in _METHODS.items():

        def gradient(method: Any = method) -> Any:
            params = cell.init(jax.random.key(0), SIZE)
            run = training.value_and_grad(cell, training.squared_error, method)
            return run(params, None, xs, jnp.zeros((1, 4, cell.output_size)))

        try:
            jax.eval_shape(gradient)
        except (ValueError, TypeError, NotImplementedError):
            continue
        found.append(name)
    return found


def _importers(name: str) -> list[str]:
    """Returns the libraries of `jrnn.interop` whose code builds a cell."""
    word = re.compile(rf"\b{name}\b")
    return [
        folder.name
        for folder in sorted((_ROOT / "jrnn" / "interop").iterdir())
        if folder.name in ("torch", "keras", "flax", "haiku", "equinox", "onnx")
        and any(word.search(path.read_text()) for path in folder.rglob("*.py"))
    ]


def _test(name: str) -> str:
    """Returns the file of tests that compares a cell with numpy."""
    called = re.compile(rf"\b{name}\(")
    files = [*sorted((_ROOT / "tests").glob("cases*.py"))]
    files += sorted((_ROOT / "tests").glob("test_*.py"))
    return next(
        (f"`{path.name}`" for path in files if called.search(path.read_text())), ""
    )


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
