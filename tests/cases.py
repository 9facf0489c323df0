"""Every cell, once: the rows of the table of laws. A new cell is one line here."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from jrnn import testing
from jrnn.testing import randomize as randomise
from tests import (
    cases_gated,
    cases_memory,
    cases_simple,
    conv_oracle,
    oracles,
    oracles_diagonal as diagonal,
    oracles_linear as linear,
    oracles_wrapped as wrapped,
)

T, B, F, H = testing.T, testing.B, 3, 4
WIDE = "float64", "float64"


@dataclasses.dataclass(frozen=True)
class Case:
    """A cell, and the numpy oracle written from its docstring.

    The oracle is a function (cell, params, state, x) -> (state, y) of one time step, on
    trees of numpy arrays. `features` is the shape of one input. `brief` if the form is
    that of another case: each kernel then runs in one situation.
    """

    cell: Any
    oracle: Callable[..., Any]
    features: tuple[int, ...] = (F,)
    written_first: tuple[str, ...] = ()  # leaves of the state that no step reads first
    brief: bool = False

    def __str__(self) -> str:
        return repr(self.cell)


CASES = [
    Case(jrnn.Elman(H), oracles.elman),
    Case(jrnn.Elman(H, activation=jrnn.activations.relu), oracles.elman),
    Case(jrnn.Elman(H, separate_biases=True), oracles.elman),
    Case(jrnn.Elman(H, bias=False), oracles.elman),
    Case(jrnn.LSTM(H), oracles.lstm),
    Case(jrnn.LSTM(H, separate_biases=True, forget_bias=0.0), oracles.lstm),
    Case(jrnn.LSTM(H, bias=False), oracles.lstm),
    Case(jrnn.LSTM(H, output_activation=jrnn.activations.identity), oracles.lstm),
    Case(jrnn.PeepholeLSTM(H, separate_biases=True), oracles.peephole_lstm),
    Case(jrnn.PeepholeLSTM(H, coupled=True), oracles.peephole_lstm),
    Case(jrnn.GRU(H), oracles.gru),
    Case(jrnn.GRU(H, separate_biases=True), oracles.gru),
    Case(jrnn.GRU(H, bias=False), oracles.gru),
    Case(jrnn.ResetBeforeGRU(H), oracles.reset_before_gru),
    Case(jrnn.ResetBeforeGRU(H, bias=False), oracles.reset_before_gru),
    Case(jrnn.ProjectedLSTM(5, H), oracles.projected_lstm),
    Case(jrnn.ProjectedLSTM(5, 2, separate_biases=True), oracles.projected_lstm),
    Case(jrnn.MGU(H), oracles.mgu),
    Case(jrnn.MGU(H, reset=False), oracles.mgu),
    Case(jrnn.ConvLSTM(2, (2,), (4,), dilation=(2,)), conv_oracle.conv_lstm, (4, F)),
    Case(
        jrnn.ConvLSTM(2, (2, 2), (3, 2), (2, 1), padding="same", separate_biases=True),
        conv_oracle.conv_lstm,
        (3, 2, F),
    ),
    Case(jrnn.IndRNN(H, activation=jrnn.activations.tanh), diagonal.indrnn),
    Case(jrnn.ParaGRU(H), diagonal.paragru),
    Case(jrnn.LRU(H, output_features=5), diagonal.lru),
]

# Cells that are linear in the state, and their relatives.
CASES += [
    Case(jrnn.MinGRU(H, activation=jrnn.activations.tanh), linear.mingru),
    Case(jrnn.MinLSTM(H), linear.minlstm),
    Case(jrnn.HGRN(H, forget_floor=0.3), linear.hgrn),
    Case(jrnn.RGLRU(H, heads=2), linear.rglru, (H,)),
    Case(jrnn.RGLRU(H, first_unscaled=True), linear.rglru, (H,)),
    Case(jrnn.SRU(H), linear.sru),
    Case(
        jrnn.SRU(H, activation=jrnn.activations.tanh, peepholes=True),
        linear.sru,
        (H,),
        written_first=("r",),
    ),
    Case(jrnn.QRNN(H, window=1), linear.qrnn),
    Case(jrnn.QRNN(H, window=3), linear.qrnn, written_first=("o",)),
    Case(jrnn.S5(H, features=F), linear.s5),
    Case(jrnn.S5(H, F, discretization="bilinear"), linear.s5),
    Case(jrnn.ParaLSTM(H), linear.paralstm),
    Case(jrnn.SLSTM(H, heads=2), linear.slstm),
    Case(jrnn.MLSTM(H, heads=2), linear.mlstm),
    Case(jrnn.MLSTM(H, stabilized=False), linear.mlstm),
]

# Every wrapper around a gated cell, and around each other form what changes it.
LSTM, INDRNN = jrnn.LSTM(H), jrnn.IndRNN(H, activation=jrnn.activations.tanh)
LRU, DENSE = jrnn.LRU(H, output_features=5), jrnn.ResetBeforeGRU(H)
CHAIN = jrnn.Zoneout(jrnn.ResidualCell(jrnn.LearnedState(jrnn.GRU(F))), rates=0.3)
CASES += [
    Case(jrnn.Zoneout(LSTM, rates=(0.1, 0.4)), wrapped.zoneout(oracles.lstm)),
    Case(jrnn.Zoneout(LRU, rates=0.3), wrapped.zoneout(diagonal.lru)),
    Case(jrnn.Zoneout(INDRNN, rates=0.3), wrapped.zoneout(diagonal.indrnn)),
    Case(jrnn.WeightDrop(LSTM, 0.5), wrapped.unchanged(oracles.lstm)),
    Case(jrnn.WeightDrop(DENSE, 0.5), wrapped.unchanged(oracles.reset_before_gru)),
    Case(jrnn.ClipCotangent(LSTM, value=1e9), wrapped.unchanged(oracles.lstm)),
    Case(jrnn.ClipCotangent(LRU, norm=1e9), wrapped.unchanged(diagonal.lru)),
    Case(jrnn.MixedPrecision(LSTM, *WIDE), wrapped.unchanged(oracles.lstm)),
    Case(jrnn.MixedPrecision(LRU, *WIDE), wrapped.unchanged(diagonal.lru)),
    Case(
        jrnn.MixedPrecision(DENSE, *WIDE), wrapped.unchanged(oracles.reset_before_gru)
    ),
    Case(jrnn.LearnedState(LRU), wrapped.learned(diagonal.lru)),
    Case(jrnn.ResidualCell(jrnn.GRU(F)), wrapped.residual(oracles.gru)),
    Case(jrnn.LayerNormLSTM(H), wrapped.layer_norm_lstm),
    Case(jrnn.LayerNormed(LSTM), wrapped.layer_normed_lstm),
    Case(jrnn.LayerNormed(jrnn.GRU(H)), wrapped.layer_normed_gru),
    Case(
        jrnn.ClipCotangent(CHAIN, norm=1e9),
        wrapped.unchanged(
            wrapped.zoneout(wrapped.residual(wrapped.learned(oracles.gru)))
        ),
    ),
    Case(
        jrnn.Zoneout(jrnn.ConvLSTM(2, (2,), (4,)), rates=(0.1, 0.4)),
        wrapped.zoneout(conv_oracle.conv_lstm),
        (4, F),
    ),
]

MORE = cases_gated.ROWS + cases_simple.ROWS + cases_memory.ROWS
CASES += [Case(*row, brief=True) for row in MORE]


def shapes(layer: Any, *args: Any) -> Any:
    """Returns the shapes of parameters, for `randomise`; drawing them would compile."""
    return jax.eval_shape(lambda: layer.init(jax.random.key(0), *args))


def setting(case: Case, batch: tuple[int, ...] = (B,), dtype: Any = jnp.float64) -> Any:
    """Returns parameters, a state and inputs [*batch, T, F] with no zero entry."""
    size = case.features if len(case.features) > 1 else case.features[0]
    params = randomise(shapes(case.cell, size), 1, dtype)
    state = randomise(case.cell.initial_state(params, batch), 2, dtype)
    xs = randomise(np.zeros((*batch, T, *case.features)), 3, dtype, scale=1.0)
    return params, state, xs


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Raises unless two trees have one structure and equal leaves within rounding."""
    testing.assert_close(actual, expected, tolerance)
