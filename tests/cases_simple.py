"""Rows of the table of laws: simple networks, and orthogonal recurrent weights."""

from typing import Any

import jrnn
from tests import oracles, oracles_gated as gated, oracles_simple as simple

H = 4  # as in `cases`

# Pairs of a cell and its oracle.
ROWS: list[tuple[Any, ...]] = [
    (jrnn.Jordan(5, 2), simple.jordan),
    (jrnn.OutputToOutput(5, 2), simple.output_to_output),
    (jrnn.ModReLURNN(H), simple.modrelu),
    (jrnn.AntisymmetricRNN(H, 0.3, 0.2, gated=True), simple.antisymmetric),
    (
        jrnn.Orthogonal(jrnn.ModReLURNN(H), "expm"),
        simple.orthogonal(simple.modrelu),
    ),
    (
        jrnn.Orthogonal(jrnn.MultiHead(jrnn.LSTM(6), 2), negative=1),
        simple.orthogonal(gated.multi_head(oracles.lstm)),
    ),
]
