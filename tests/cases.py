"""Every cell, once: the rows of the table of laws. A new cell is one line here."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from tests import conv_oracle, oracles, oracles_diagonal as diagonal

T, B, F, H = 7, 2, 3, 4


@dataclasses.dataclass(frozen=True)
class Case:
    """A cell, and the numpy oracle written from its docstring.

    The oracle is a function (cell, params, state, x) -> (state, y) of one time step, on
    trees of numpy arrays. `features` is the shape of one input.
    """

    cell: Any
    oracle: Callable[..., Any]
    features: tuple[int, ...] = (F,)

    def __str__(self) -> str:
        return repr(self.cell)


CASES = [
    Case(jrnn.Elman(H), oracles.elman),
    Case(jrnn.Elman(H, activation=jrnn.activations.relu), oracles.elman),
    Case(jrnn.Elman(H, bias="double"), oracles.elman),
    Case(jrnn.Elman(H, bias=None), oracles.elman),
    Case(jrnn.LSTM(H), oracles.lstm),
    Case(jrnn.LSTM(H, bias="double", forget_bias=0.0), oracles.lstm),
    Case(jrnn.LSTM(H, bias=None), oracles.lstm),
    Case(jrnn.LSTM(H, output_activation=jrnn.activations.identity), oracles.lstm),
    Case(jrnn.PeepholeLSTM(H, bias="double"), oracles.peephole_lstm),
    Case(jrnn.PeepholeLSTM(H, coupled=True), oracles.peephole_lstm),
    Case(jrnn.GRU(H), oracles.gru),
    Case(jrnn.GRU(H, bias="double"), oracles.gru),
    Case(jrnn.GRU(H, bias=None), oracles.gru),
    Case(jrnn.ResetBeforeGRU(H), oracles.reset_before_gru),
    Case(jrnn.ResetBeforeGRU(H, bias=None), oracles.reset_before_gru),
    Case(jrnn.ProjectedLSTM(5, H), oracles.projected_lstm),
    Case(jrnn.ProjectedLSTM(5, 2, bias="double"), oracles.projected_lstm),
    Case(jrnn.MGU(H), oracles.mgu),
    Case(jrnn.MGU(H, reset=False), oracles.mgu),
    Case(jrnn.ConvLSTM(2, (2,), (4,), dilation=(2,)), conv_oracle.conv_lstm, (4, F)),
    Case(
        jrnn.ConvLSTM(2, (2, 2), (3, 2), (2, 1), padding="same", bias="double"),
        conv_oracle.conv_lstm,
        (3, 2, F),
    ),
    Case(jrnn.IndRNN(H, activation=jrnn.activations.tanh), diagonal.indrnn),
    Case(jrnn.ParaGRU(H), diagonal.paragru),
    Case(jrnn.LRU(H, output=5), diagonal.lru),
]


def randomise(tree: Any, seed: int, dtype: Any = None, scale: float = 0.5) -> Any:
    """Replaces every leaf by normal draws, so that no entry is zero."""
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(seed)
    draws = [
        jnp.asarray(scale * rng.standard_normal(leaf.shape), dtype or leaf.dtype)
        for leaf in leaves
    ]
    return jax.tree.unflatten(structure, draws)


def setting(case: Case, batch: tuple[int, ...] = (B,), dtype: Any = jnp.float64) -> Any:
    """Returns parameters, a state and inputs [*batch, T, F] with no zero entry."""
    size = case.features if len(case.features) > 1 else case.features[0]
    params = randomise(case.cell.init(jax.random.key(0), size), 1, dtype)
    state = randomise(case.cell.initial_state(params, batch), 2, dtype)
    xs = randomise(jnp.zeros((*batch, T, *case.features)), 3, dtype, scale=1.0)
    return params, state, xs


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Raises unless two trees have one structure and equal leaves within rounding."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(actual),
        jax.tree.leaves(expected),
        strict=True,
    ):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(
            a, b, rtol=tolerance, atol=tolerance, err_msg=f"leaf {name}"
        )
