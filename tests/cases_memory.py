"""Rows of the table of laws: cells with a long memory."""

from typing import Any

import jrnn
from tests import oracles_memory as memory

H = 4  # as in `cases`

# Pairs of a cell and its oracle.
ROWS: list[tuple[Any, ...]] = [
    (jrnn.LEM(H, dt=0.7), memory.lem),
    (jrnn.CoRNN(H, dt=0.3), memory.cornn),
    (jrnn.UnICORNN(H, dt=0.8, alpha=1.5), memory.unicornn),
]
