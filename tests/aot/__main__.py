"""Prints what programs for an H100 launch per step, as a table in Markdown."""

import jax
from flax import linen

import jrnn
from experiments import targets
from tests.aot import h100

TIME, UNITS = 128, 128
ROWS = [
    ("`LSTM`, gated kernel", jrnn.LSTM(UNITS), {}),
    ("`LSTM`, gated kernel, `unroll=1`", jrnn.LSTM(UNITS), {"unroll": 1}),
    ("`LSTM`, plain scan", jrnn.LSTM(UNITS), {"method": "scan"}),
    ("Flax `OptimizedLSTMCell`", linen.OptimizedLSTMCell(UNITS), {}),
    ("`GRU`, gated kernel", jrnn.GRU(UNITS), {}),
    ("`GRU`, gated kernel, `unroll=1`", jrnn.GRU(UNITS), {"unroll": 1}),
    ("`GRU`, plain scan", jrnn.GRU(UNITS), {"method": "scan"}),
    ("Flax `GRUCell`", linen.GRUCell(UNITS), {}),
]


def main() -> None:
    """Compiles every row."""
    if targets.missing("h100"):
        raise SystemExit(targets.missing("h100"))
    print(f"jax {jax.__version__}, time {TIME}, batch 32, 64 inputs, {UNITS} units\n")
    print("| | kernels per step | temporary memory |\n|---|---|---|")
    for name, cell, how in ROWS:
        program = h100.gradient(cell, **how)
        kernels, memory = program.per_step(TIME), program.bytes / 2**20
        print(f"| {name} | {kernels:.3g} | {memory:.0f} MiB |")


if __name__ == "__main__":
    main()
