"""Budgets of what is compiled for an H100: kernels per step, temporary bytes.

See `tests.aot.h100` for how to run these tests. A budget is what was counted; to raise
one, say in the commit why.
"""

import re

import pytest
from flax import linen

import jrnn
from tests.aot import h100

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("h100_compiler")]
TIME, MIB = 128, 2**20
LSTM, GRU = jrnn.LSTM(128), jrnn.GRU(128)


@pytest.mark.parametrize(
    "cell, how, kernels, memory",
    [
        (LSTM, {}, 6.5, 45),
        (LSTM, {"unroll": 1}, 10, 39),
        (LSTM, {"unroll": 1, "reset": True}, 11, 39),
        (LSTM, {"method": "scan"}, 27, 52),
        (GRU, {}, 5.25, 39),
        (GRU, {"unroll": 1}, 9, 37),
        (GRU, {"method": "scan"}, 23, 38),
    ],
    ids=str,
)
def test_kernels_per_step_and_memory(cell, how, kernels, memory):
    program = h100.gradient(cell, **how)
    assert len(program.loops) == 2
    assert program.per_step(TIME) <= kernels
    assert program.bytes <= memory * MIB


def test_a_recorded_forward_step_is_five_kernels():
    """The matmul, the update, the next step's number; one array is the tape."""
    (_, forward), _ = h100.gradient(LSTM, unroll=1).loops
    assert forward <= 5


@pytest.mark.parametrize(
    "cell, peer",
    [(LSTM, linen.OptimizedLSTMCell(128)), (GRU, linen.GRUCell(128))],
    ids=["LSTM", "GRU"],
)
def test_flax_launches_more(cell, peer):
    ours, flax = h100.gradient(cell), h100.gradient(peer)
    assert 2 * ours.per_step(TIME) < flax.per_step(TIME)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "cell", [jrnn.LSTM, jrnn.GRU, jrnn.PeepholeLSTM, jrnn.MGU, jrnn.Elman]
)
def test_kernels_compile_unless_their_bytes_are_refused(cell, dtype):
    """Forward and backward, with resets; no loop is left around them."""
    compiled = []
    for units in (20, 64, 128, 256, 1024):
        how = {"sizes": (16, 70, 24), "dtype": dtype, "reset": True}
        try:
            program = h100.gradient(cell(units), "pallas", **how)
        except ValueError as error:
            assert re.search(r"\d+ bytes.* may use \d+ bytes", str(error))
        else:
            assert program.kernels == 2 and not program.loops
            compiled.append(units)
    assert compiled[:2] == [20, 64]
    assert dtype == "float32" or 128 in compiled
