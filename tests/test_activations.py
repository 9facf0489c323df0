"""Activations: values, derivatives, and what makes them plain values."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import activations as a
from tests import oracles

ALL = [getattr(a, name) for name in oracles.FUNCTIONS]
ALL += [
    a.LeakyRelu(slope=0.3),
    a.ThresholdedRelu(threshold=0.7),
    a.Elu(scale=1.3),
    a.ScaledTanh(scale=1.7, rate=0.6),
    a.Affine(slope=0.5, offset=-0.2),
    a.HardSigmoid(),
    a.HardSigmoid(slope=1 / 6),
    a.Clipped(a.tanh, bound=0.9),
    a.Clipped(a.HardSigmoid(), bound=1.5),
]


def show(activation):
    return getattr(activation, "__name__", repr(activation))


@pytest.mark.parametrize("activation", ALL, ids=show)
def test_values_and_derivatives_agree_with_numpy(activation):
    x = np.linspace(-7, 7, 29) + 0.0123  # no kink within a step
    twin = oracles.named(activation)
    with jax.enable_x64(True):
        np.testing.assert_allclose(activation(jnp.asarray(x)), twin(x), 1e-12, 1e-14)
        slope = jax.vmap(jax.grad(activation))(jnp.asarray(x))
    expected = (twin(x + 1e-6) - twin(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, expected, rtol=1e-7, atol=1e-7)
    half = jnp.asarray(x, jnp.bfloat16)
    assert activation(half).dtype == jnp.bfloat16


@pytest.mark.parametrize("activation", ALL, ids=show)
def test_is_a_plain_value(activation):
    again = pickle.loads(pickle.dumps(activation))
    assert again == activation and hash(again) == hash(activation)
    cell = jrnn.LSTM(4, gate=activation)
    assert "0x" not in repr(cell)
    assert pickle.loads(pickle.dumps(cell)) == cell


def test_the_hard_sigmoids_are_those_of_their_libraries():
    x = jnp.linspace(-4.0, 4.0, 33)
    np.testing.assert_allclose(
        a.HardSigmoid(slope=1 / 6)(x), jax.nn.hard_sigmoid(x), atol=1e-7
    )


def test_values_print_as_the_call_that_builds_them():
    assert repr(jrnn.Elman(4, activation=a.Clipped(a.relu, 2.0))) == (
        "Elman(hidden_size=4, activation=Clipped(activation=relu, bound=2.0))"
    )


def test_the_derivative_of_tanh_has_a_derivative():
    x = np.linspace(-3, 3, 13)
    with jax.enable_x64(True):
        bend = jax.vmap(jax.grad(jax.grad(a.tanh)))(jnp.asarray(x))
    expected = -2 * np.tanh(x) / np.cosh(x) ** 2
    np.testing.assert_allclose(bend, expected, rtol=1e-12, atol=1e-15)
