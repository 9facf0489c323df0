"""Plots show the numbers they are given, on axes that say what they are."""

import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from experiments.errors import UserError
from jrnn import diagnostics

pytest.importorskip("matplotlib").use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

from experiments import gradient_flow  # noqa: E402  where there is what draws
from jrnn.diagnostics import plots  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def line(ax, number=0):
    return np.asarray(ax.get_lines()[number].get_ydata())


def labeled(ax):
    return bool(ax.get_xlabel() and ax.get_ylabel())


def test_gradient_by_lag_draws_medians():
    curves = np.array([[1.0, 0.1, 0.0], [3.0, 0.3, 0.0], [2.0, 0.2, 0.0]])
    ax = plots.gradient_by_lag({"net": curves})
    np.testing.assert_allclose(line(ax), [2.0, 0.2, np.nan])  # zero ends the line
    assert labeled(ax) and ax.get_legend().get_texts()[0].get_text() == "net"


def test_jacobian_norms_are_symmetric_around_one():
    norms = np.array([[1.0, 0, 0], [0.1, 1, 0], [1e-3, 0.1, 1]])
    ax = plots.jacobian_norms(norms)
    (image,) = ax.get_images()
    assert np.allclose(image.get_clim(), (1e-3, 1e3)) and labeled(ax)
    assert np.ma.getmaskarray(image.get_array())[0, 2]


def test_gradient_terms_draw_the_norm_of_the_sum():
    terms = {"w": jnp.array([[3.0, 4.0], [-3.0, -1.0]]), "b": jnp.ones((2, 1))}
    ax = plots.gradient_terms(terms)
    np.testing.assert_allclose(line(ax, 2), [5.0, 10**0.5], rtol=1e-6)
    np.testing.assert_allclose(line(ax, 3), 3.0)
    assert labeled(ax)


def test_lyapunov_says_whether_gradients_explode():
    running = np.array([[0.5, -1.0], [0.2, -2.0]])
    left, right = plots.lyapunov(diagnostics.Lyapunov(running[-1], running))
    assert "chaotic" in left.get_title("left") and labeled(left) and labeled(right)
    calm = diagnostics.Lyapunov(running[-1] - 0.3, running - 0.3)
    assert "10 steps" in plots.lyapunov(calm)[0].get_title("left")


def test_gates_and_half_lives_are_drawn_unit_by_unit():
    gate = diagnostics.gate_saturation(jnp.array([[0.95, 0.5], [0.99, 0.01]]))
    ax = plots.gate_saturation({"f": gate})
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[1, 0], [0, 0.5]])
    lives = plots.half_lives({"f": jnp.array([2.0, 8.0, 4.0])})
    np.testing.assert_allclose(lives.get_lines()[0].get_xdata(), [8, 4, 2])
    assert labeled(ax) and labeled(lives)


def test_magnitudes_stop_at_what_is_not_finite():
    sequence = jnp.array([[1.0, -2.0], [3.0, 0.0], [jnp.inf, 0.0]])
    ax = plots.magnitudes({"states.h": sequence}, step=2)
    np.testing.assert_allclose(line(ax), [2.0, 3.0, np.nan])
    assert "step 2" in ax.texts[0].get_text() and labeled(ax)


def test_gradient_norms_are_drawn_by_step():
    ax = plots.gradient_norms({"layer": jnp.array([0.5, 1.0])})
    np.testing.assert_allclose(line(ax), [0.5, 1.0])
    assert labeled(ax)


def test_the_picture_of_the_docs_is_drawn_by_a_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gradient_flow, "cells", lambda h: {"Elman": jrnn.Elman(h)})
    out = tmp_path / "pictures" / "flow.png"
    small = ["--hidden", "4", "--inputs", "3", "--steps", "6", "--seeds", "2"]
    assert gradient_flow.main("gradient_flow", [*small, "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "Elman" in capsys.readouterr().out
    again = out.with_name("again.png")
    assert gradient_flow.main("gradient_flow", [*small, "--out", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(UserError, match="--out must end in .png, .svg, .pdf"):
        gradient_flow.main("gradient_flow", ["--out", "flow.jpeg"])
    with pytest.raises(UserError, match="--steps must be at least 1"):
        gradient_flow.main("gradient_flow", ["--steps", "0"])


def test_slopes_give_horizons():
    curve = np.exp(-0.25 * np.arange(21.0))
    horizon = diagnostics.memory_horizon(gradient_flow.slope(curve))
    assert float(horizon) == pytest.approx(4.0)
    assert set(gradient_flow.cells(3)) >= {"Elman", "GRU", "LSTM"}
    assert isinstance(gradient_flow.cells(3)["LSTM"], jrnn.LSTM)


def test_parallelizable_marks_what_did_not_converge():
    result = lambda exponent, count, solved: diagnostics.Parallelizable(
        jnp.array([exponent, exponent - 1]), None, count, solved, "scan", ""
    )
    found = {"GRU": [result(-0.5, 4, True), result(0.1, 32, False)]}
    ax = plots.parallelizable(found)
    solved, failed = ax.collections
    np.testing.assert_allclose(solved.get_offsets(), [[-0.5, 4]])
    np.testing.assert_allclose(failed.get_offsets(), [[0.1, 32]])
    assert labeled(ax) and len(ax.get_legend().get_texts()) == 1
