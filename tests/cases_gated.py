"""Rows of the table of laws: gated cells and what is put around them."""

from typing import Any

import jrnn
from jrnn import activations
from tests import oracles, oracles_gated as gated, oracles_wrapped as wrapped

F, H = 3, 4  # as in `cases`
CLIPPED = activations.Clipped(activations.tanh, bound=0.7)

# Pairs of a cell and its oracle, with the shape of one input where it is no vector.
ROWS: list[tuple[Any, ...]] = [
    (jrnn.PeepholeLSTM(H, coupled=True, peepholes=False), oracles.peephole_lstm),
    (jrnn.JANET(H), gated.janet),
    (jrnn.RefineGateLSTM(H), gated.refine_gate_lstm),
    (jrnn.ProjectedGRU(5, 2), gated.projected_gru),
    (jrnn.LayerNormGRU(H), gated.layer_norm_gru),
    (jrnn.LayerNormLSTM(H, carry="normalized"), gated.layer_norm_lstm_of_pytorch),
    (
        jrnn.ConvGRU(2, (2, 2), (3, 2), (2, 1), padding="same"),
        gated.conv_gru,
        (3, 2, F),
    ),
    (jrnn.ConvGRU(2, (2,), (3,), reset_after=False), gated.conv_gru, (3, F)),
    (jrnn.MultiHead(jrnn.LSTM(6), 2), gated.multi_head(oracles.lstm)),
    (
        jrnn.MultiHead(jrnn.GRU(6, separate_biases=True), 3),
        gated.multi_head(oracles.gru),
    ),
    (
        jrnn.ClipState(jrnn.LSTM(H, output_activation=CLIPPED), bounds=(None, 0.7)),
        gated.cell_clipped_lstm,
    ),
    (
        jrnn.ClipState(jrnn.Zoneout(jrnn.GRU(H), 0.3), bounds=0.4),
        gated.clip_state(wrapped.zoneout(oracles.gru)),
    ),
    (
        jrnn.RecurrentDropout(jrnn.Zoneout(jrnn.LSTM(H), (0.1, 0.4)), 0.3),
        wrapped.unchanged(wrapped.zoneout(oracles.lstm)),
    ),
    (
        jrnn.InputDropout(jrnn.RecurrentDropout(jrnn.GRU(H), 0.3), 0.4, locked=True),
        wrapped.unchanged(wrapped.unchanged(oracles.gru)),
    ),
    (
        jrnn.InputDropout(jrnn.ResetBeforeGRU(H), 0.4),
        wrapped.unchanged(oracles.reset_before_gru),
    ),
]
