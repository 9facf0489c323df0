"""Gates as the diagnostics show them are those that the step used."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import diagnostics
from tests.cases import Case, H, T, assert_close, setting


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def lstm_step(gates, before, after, own):
    """The candidate and the output that the gates of an LSTM imply."""
    outputs = gates["o"] * jnp.tanh(after.c)
    if hasattr(own, "w_p"):
        outputs = outputs @ own.w_p
    assert_close(after.h, outputs, 1e-12)
    return (after.c - gates["f"] * before.c) / gates["i"]


def gru_step(gates, before, after, own):
    keep = gates["f" if "f" in gates else "z"]
    return (after.h - keep * before.h) / (1 - keep)


def para_step(gates, before, after, own):
    return (after.h - (1 - gates["z"]) * before.h) / gates["z"]


def gru_inside(cell, gates, before, own):
    """What the reset gate lets through to the candidate."""
    h, w_n = before.h, own.w_h[..., -H:]
    if isinstance(cell, jrnn.ResetBeforeGRU):
        return (gates["r"] * h) @ w_n
    if isinstance(cell, jrnn.ParaGRU):
        return gates["r"] * h * w_n
    return gates["r" if "r" in gates else "f"] * (h @ w_n + own.b_h)


GATED = [
    (jrnn.LSTM(H), lstm_step),
    (jrnn.PeepholeLSTM(H), lstm_step),
    (jrnn.PeepholeLSTM(H, coupled=True), lstm_step),
    (jrnn.ProjectedLSTM(H, 3), lstm_step),
    (jrnn.GRU(H), gru_step),
    (jrnn.ResetBeforeGRU(H), gru_step),
    (jrnn.MGU(H), gru_step),
    (jrnn.ParaGRU(H), para_step),
]
NAMES = [str(cell) for cell, _ in GATED]


@pytest.mark.parametrize(("cell", "candidate"), GATED, ids=NAMES)
def test_gates_explain_the_step(cell, candidate):
    params, state, xs = setting(Case(cell, None))
    gates = jax.jit(diagnostics.gates, static_argnums=0)(cell, params, state, xs)
    _, (_, after) = jrnn.scan(cell, params, state, xs, return_states=True)
    before = jax.tree.map(
        lambda a, b: jnp.concatenate([a[:, None], b[:, :-1]], axis=1), state, after
    )
    found = candidate(gates, before, after, params)
    u = (xs @ params.w_x + params.b_x)[..., -H:]  # the candidate is the last block,
    if candidate is lstm_step:  # but for the output gate
        u = (xs @ params.w_x + params.b_x)[..., -2 * H : -H]
        inside = before.h @ params.w_h[..., -2 * H : -H]
    else:
        inside = gru_inside(cell, gates, before, params)
    assert_close(found, jnp.tanh(u + inside), 1e-10)


@pytest.mark.parametrize("inner", [jrnn.LSTM(H), jrnn.ParaGRU(H), jrnn.SRU(H)], ids=str)
def test_a_clip_of_a_blend_keeps_the_gates(inner):
    """Wide bounds and a rate of zero change nothing."""
    clipped = jrnn.ClipState(jrnn.Zoneout(inner, 0.0), 1e3)
    params, state, xs = setting(Case(inner, None))
    found = diagnostics.gates(clipped, params, state, xs)
    assert_close(found, diagnostics.gates(inner, params, state, xs), 1e-12)


def test_saturation_counts_steps_unit_by_unit():
    values = np.random.default_rng(0).uniform(size=(2, T, H))
    found = diagnostics.gate_saturation(jnp.asarray(values), low=0.4, high=0.6)
    flat = values.reshape(-1, H)
    np.testing.assert_allclose(found.closed, (flat < 0.4).mean(0))
    np.testing.assert_allclose(found.open, (flat > 0.6).mean(0))
    np.testing.assert_allclose(found.mean, flat.mean(0))


def test_cells_without_gates_say_so():
    cell = jrnn.Elman(1)
    params = cell.init(jax.random.key(0), 1)
    with pytest.raises(TypeError, match=r"but Elman\(.*\) does not"):
        diagnostics.gates(cell, params, None, jnp.ones((3, 1)))


def test_half_lives_halve():
    forget = jnp.array([[0.9, 0.5], [0.8, 0.5]])
    life = diagnostics.half_life(forget)
    assert float(math.sqrt(0.9 * 0.8) ** life[0]) == pytest.approx(0.5)
    assert float(life[1]) == pytest.approx(1.0)
