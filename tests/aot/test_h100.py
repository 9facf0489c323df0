"""Budgets of what is compiled for an H100: kernels per step, temporary bytes.

See `tests.aot.h100` for how to run these tests. A budget is what was counted; to raise
one, say in the commit why.
"""

import pytest
from flax import linen

import jrnn
from tests.aot import h100

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("h100_compiler")]
TIME, MIB = 128, 2**20
LSTM, GRU = jrnn.LSTM(128), jrnn.GRU(128)


@pytest.mark.parametrize(
    "cell, method, kernels, memory",
    [
        (LSTM, "auto", 15, 43),
        (LSTM, "scan", 27, 52),
        (GRU, "auto", 12, 28),
        (GRU, "scan", 23, 38),
    ],
    ids=str,
)
def test_kernels_per_step_and_memory(cell, method, kernels, memory):
    program = h100.gradient(cell, method)
    assert program.per_step(TIME) <= kernels
    assert program.bytes <= memory * MIB


@pytest.mark.parametrize(
    "cell, peer",
    [(LSTM, linen.OptimizedLSTMCell(128)), (GRU, linen.GRUCell(128))],
    ids=["LSTM", "GRU"],
)
def test_flax_launches_more(cell, peer):
    ours, flax = h100.gradient(cell), h100.gradient(peer)
    assert 2 * ours.per_step(TIME) < flax.per_step(TIME)
