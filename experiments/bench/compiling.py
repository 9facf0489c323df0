"""`bench --compile-for`: compiles every program for an absent accelerator."""

import dataclasses
import itertools
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

import jrnn
from experiments import targets
from experiments.bench.config import Compile, Size, size_of
from experiments.errors import UserError

CELLS: dict[str, Any] = {
    "lstm": jrnn.LSTM,
    "gru": jrnn.GRU,
    "elman": jrnn.Elman,
    "mgu": jrnn.MGU,
    "peephole": jrnn.PeepholeLSTM,
    "lru": jrnn.LRU,
    "indrnn": jrnn.IndRNN,
}
ORDERS = ("associative", "chunk", "pallas")
METHODS: dict[str, Any] = {
    **{name: name for name in ("scan", "gated", "pallas", "linear", "parallel")},
    **{f"linear:{order}": jrnn.kernels.Linear(order) for order in ORDERS},
}
# Newton's method keeps a Jacobian [H, H] for every step of a cell whose units mix.
APPLY = {
    "Gated": ("scan", "gated", "pallas"),
    "Linear": ("scan", *(name for name in METHODS if name.startswith("linear"))),
    "Plain": ("scan", "parallel"),
}
HEAD = ["cell", "method", "dtype", "mode", "size", "temporary MiB", "in loops"]


@dataclasses.dataclass
class Row:
    """The result of compiling one program."""

    cell: str
    method: str
    dtype: str
    mode: str
    size: str
    status: str = "compiled"  # or refused, before it is compiled; or failed
    reason: str = ""
    temporary: int | None = None  # bytes
    loops: list[targets.Loop] = dataclasses.field(default_factory=list)
    kernels: int = 0  # of Pallas
    seconds: float = 0.0  # to trace and compile

    @property
    def program(self) -> tuple[str, ...]:
        """What was compiled."""
        return (self.cell, self.method, self.mode, self.dtype, self.size)

    def operations(self) -> str:
        """Returns the operations in loops for each time step, or the kernels."""
        if self.kernels:
            return "1 kernel" if self.kernels == 1 else f"{self.kernels} kernels"
        steps = size_of(self.size).time
        each = [operations * trips / steps for trips, operations in self.loops]
        return " + ".join(f"{number:.3g}" for number in each) or "no loop"

    def cells(self) -> list[str]:
        """Returns the row of a table."""
        what = [self.cell, self.method, self.dtype, self.mode, self.size]
        if self.status != "compiled":
            return [*what, "-", f"{self.status}: {self.reason}"]
        inside = [f"{operations} x {trips}" for trips, operations in self.loops]
        if self.kernels:
            inside.append(f"kernels: {self.kernels}")
        return [*what, f"{(self.temporary or 0) / 2**20:.1f}", ", ".join(inside)]


def main(config: Compile) -> int:
    """Compiles all programs, prints a table, and returns 1 if one failed."""
    targets.place(config.compile_for)  # an error, if there is no compiler
    found: list[Row] = []
    for line in (HEAD, ["---"] * len(HEAD)):
        print(_line(line), flush=True)
    for row in rows(config):
        found.append(row)
        print(_line(row.cells()), flush=True)
        if config.out is not None:
            save(config.out, config.compile_for, row)
    counts = {s: sum(row.status == s for row in found) for s in STATUSES}
    print("\n" + ", ".join(f"{n} {status}" for status, n in counts.items()))
    return int(counts["failed"] > 0)


STATUSES = ("compiled", "refused", "failed")


def rows(config: Compile) -> Iterator[Row]:
    """Compiles one program after the other."""
    for cell, text, dtype in itertools.product(
        config.cells, config.sizes, config.dtypes
    ):
        made = CELLS[cell](size_of(text).hidden)
        for method in APPLY[type(made.form).__name__]:
            if method.split(":")[0] in config.methods:
                for mode in config.modes:
                    row = Row(cell, method, dtype, mode, text)
                    _compile(config.compile_for, made, size_of(text), row)
                    yield row


def _compile(target: str, cell: Any, size: Size, row: Row) -> None:
    """Compiles a program, and writes the result in its row."""
    shapes = jax.eval_shape(
        lambda: (
            cell.init(jax.random.key(0), size.inputs, row.dtype),
            jnp.zeros((size.batch, size.time, size.inputs), row.dtype),
        )
    )

    def run(params: Any, xs: Any) -> Any:
        return jrnn.scan(cell, params, None, xs, method=METHODS[row.method])[1]

    def loss(params: Any, xs: Any) -> Any:
        return jnp.sum(run(params, xs).astype("float32") ** 2)

    functions = {"forward": run, "gradient": jax.grad(loss)}
    functions["gradient-inputs"] = jax.grad(loss, (0, 1))
    start = time.perf_counter()
    jax.clear_caches()
    try:
        program = targets.compiled(target, functions[row.mode], *shapes)
    except ValueError as error:  # by jrnn, with the bytes
        row.status, row.reason = "refused", _first_line(error)
    except Exception as error:  # of any kind, by the compiler
        row.status, row.reason = "failed", _first_line(error)
    else:
        row.loops = program.loops
        row.kernels, row.temporary = program.kernels, program.bytes
    row.seconds = time.perf_counter() - start


def save(folder: pathlib.Path, target: str, row: Row) -> None:
    """Adds a row to the files of a folder, which hold those of earlier runs.

    It takes the place of the row of the same program.

    Raises:
      UserError: If the rows are of another target or another version of JAX.
    """
    path, made = folder / "compiled.json", {"target": target, "jax": jax.__version__}
    before = json.loads(path.read_text()) if path.exists() else {}
    if before and {key: before.get(key) for key in made} != made:
        raise UserError(
            f"--out {folder} holds the rows of {before.get('target')} with JAX "
            f"{before.get('jax')}, and these are of {target} with {jax.__version__}. "
            "Choose another folder."
        )
    rows = [Row(**old) for old in before.get("rows", [])]
    every = [*({old.program: old for old in rows} | {row.program: row}).values()]
    results = {**made, "rows": [dataclasses.asdict(row) for row in every]}
    path.write_text(json.dumps(results, indent=1) + "\n")
    (folder / "compiled.md").write_text("\n".join(map(_line, page(every))) + "\n")


def page(every: list[Row]) -> list[list[str]]:
    """Returns a table with a column for each size: temporary MiB, if it compiled."""
    sizes = list(dict.fromkeys(row.size for row in every))
    lines = [["cell", "method", "mode", "dtype", "operations per step", *sizes]]
    lines.append(["---"] * 5 + ["--:"] * len(sizes))
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in every:
        groups.setdefault(row.program[:-1], {})[row.size] = row
    for what, found in groups.items():
        done = [row for row in found.values() if row.status == "compiled"]
        counted = dict.fromkeys(row.operations() for row in done)
        memory = {row.size: f"{(row.temporary or 0) / 2**20:.1f}" for row in done}
        status = {size: row.status for size, row in found.items()} | memory
        line = [*what, ", ".join(counted)]
        lines.append([*line, *(status.get(size, "-") for size in sizes)])
    return lines


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
