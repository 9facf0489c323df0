"""Wrappers that change what recurrent weights are: orthogonal, or in heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import activations, kernels

KEY = jax.random.key(0)
LINEAR = jrnn.Elman(5, activation=activations.identity)


def recurrent_weights(cell, dtype=jnp.float32):
    return jax.jit(lambda: cell.prepare(cell.init(KEY, 3, dtype)).w_h)()


@pytest.mark.parametrize("how", ["cayley", "expm"])
@pytest.mark.parametrize("negative", [None, 2])
def test_weights_start_orthogonal_with_the_angles_of_the_paper(how, negative):
    w = np.asarray(recurrent_weights(jrnn.Orthogonal(jrnn.GRU(20), how, negative)))
    for gate in np.split(w, 3, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(20), atol=1e-5)
        np.testing.assert_allclose(np.linalg.det(gate), 1, rtol=1e-4)  # (-1)^2
        if negative is None:
            angles = np.abs(np.angle(np.linalg.eigvals(np.asarray(gate, float))))
            largest = np.pi / 2 if how == "cayley" else np.pi
            assert 0.7 * largest < angles.max() <= largest + 1e-5
    assert not np.allclose(w[:, :20], w[:, 20:40])


@pytest.mark.parametrize("how", ["cayley", "expm"])
def test_half_precision_computes_the_weights_in_float32(how):
    cell = jrnn.Orthogonal(jrnn.Elman(4), how)
    w = recurrent_weights(cell, jnp.bfloat16)
    assert w.dtype == jnp.bfloat16
    np.testing.assert_allclose(w.T @ w, np.eye(4), atol=0.02)


@pytest.mark.parametrize("how", ["cayley", "expm"])
def test_a_gradient_keeps_its_length_over_100_steps(how):
    cell = jrnn.Orthogonal(LINEAR, how, negative=1)
    params = cell.init(KEY, 3)
    params = params._replace(w_h=params.w_h + 0.3)  # as after some training
    xs = np.ones((100, 3), params.w_h.dtype)

    @jax.jit
    def pulled_back(params, final):
        run = lambda state: jrnn.scan(cell, params, state, xs)[0]
        return jax.vjp(run, cell.initial_state(params))[1](final)[0]

    final = jrnn.cells.ElmanState(h=np.arange(5, dtype=xs.dtype))
    gradient = pulled_back(params, final)
    np.testing.assert_allclose(np.linalg.norm(gradient.h), 30**0.5, rtol=1e-4)


def test_wrappers_go_around_and_keep_the_kernel():
    orthogonal = jrnn.Orthogonal(jrnn.MultiHead(jrnn.LSTM(6), heads=3))
    assert orthogonal.init(KEY, 3).w_h.shape == (3, 4, 1)
    inputs = kernels.Inputs(jnp.ones((5, 2, 3)), None, None, None)
    for cell in (
        orthogonal,
        jrnn.LayerNormed(orthogonal),
        jrnn.Zoneout(jrnn.WeightDrop(orthogonal, 0.5), 0.1),
        jrnn.MixedPrecision(jrnn.LearnedState(orthogonal)),
    ):
        chosen = kernels.choose("auto", cell, inputs, kernels.Options())
        assert chosen == kernels.Gated(), cell
    for cell in (jrnn.LayerNormed(orthogonal), jrnn.MixedPrecision(orthogonal)):
        params = cell.init(KEY, 3)
        assert jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))[1].shape == (2, 5, 6)


def test_heads_do_not_mix_and_each_starts_like_a_small_cell():
    cell = jrnn.MultiHead(jrnn.LSTM(6), heads=2)
    params = cell.init(KEY, 3)
    for block in params.w_h:
        for gate in jnp.split(block, 4, axis=1):
            np.testing.assert_allclose(gate.T @ gate, np.eye(3), atol=1e-5)
    assert not np.allclose(params.w_h[0], params.w_h[1])
    state = cell.initial_state(params)
    step = lambda h: jrnn.step(cell, params, state._replace(h=h), jnp.ones(3))[1]  # noqa: E731
    jacobian = np.asarray(jax.jit(jax.jacobian(step))(jnp.ones(6)))
    assert np.all(jacobian[:3, :3]) and not np.any(jacobian[:3, 3:])


def test_heads_of_one_unit_draw_no_biases():
    """The biases of `RefineGateLSTM` need two units, which the whole cell has."""
    cell = jrnn.MultiHead(jrnn.RefineGateLSTM(4), heads=4)
    params = cell.init(KEY, 3)
    assert params.w_h.shape == (4, 1, 4)
    _, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
    assert ys.shape == (2, 5, 4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: jrnn.Orthogonal(jrnn.LSTM(4), "qr"), ValueError, "one of"),
        (lambda: jrnn.Orthogonal(jrnn.Jordan(4, 2)).init(KEY, 3), ValueError, "w_h"),
        (
            lambda: jrnn.Orthogonal(jrnn.ProjectedLSTM(5, 4)).init(KEY, 3),
            ValueError,
            r"needs recurrent weights w_h \[H, k\*H\].*\[4, 20\]",
        ),
        (lambda: jrnn.Orthogonal(jrnn.IndRNN(4)).init(KEY, 3), ValueError, r"\[4\]"),
        (
            lambda: jrnn.Orthogonal(jrnn.LSTM(4), negative=5).init(KEY, 3),
            ValueError,
            "at most the 4 rows",
        ),
        (lambda: jrnn.MultiHead(jrnn.LSTM(4), 3), ValueError, "heads must divide"),
        (lambda: jrnn.MultiHead(jrnn.LRU(4), 2), TypeError, "forms.Gated"),
        (
            lambda: jrnn.MultiHead(jrnn.Zoneout(jrnn.LSTM(4), 0.1), 2),
            TypeError,
            "Put other wrappers around",
        ),
        (
            lambda: jrnn.MultiHead(jrnn.MultiHead(jrnn.LSTM(4), 2), 2),
            TypeError,
            "Put other wrappers around",
        ),
        *(
            (
                lambda cell=cell: jrnn.MultiHead(cell, 2).init(KEY, 3),
                TypeError,
                rf"w_h \[H, k\*H\], but those of {type(cell).__name__}.*{shape}",
            )
            for cell, shape in [
                (jrnn.CoRNN(4), r"\[8, 4\]"),
                (jrnn.AntisymmetricRNN(4), r"\[6\]"),
            ]
        ),
        (lambda: jrnn.AntisymmetricRNN(1), ValueError, "hidden_size must be at least"),
    ],
)
def test_says_what_it_needs(make, error, message):
    with pytest.raises(error, match=message):
        make()
